"""How large a step is stable on quadratic costs, from the method's own step.

Where all costs are ½ L‖x‖² and W has the eigenvalue λ, a step that is linear in its state turns the
components of all states along λ's eigenvector into new ones by a small matrix, one row and column
for each array of the state. That matrix is had by running the step itself on unit states, with
"multiply by λ" in the place of the network; its spectral radius says whether the mode dies out.
The eigenvalue 1 of W, along which nodes agree, is left out: there the step is that of one node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from p2pdo.effects import Here, Mix
from p2pdo.types import Array

SMALLEST_SHARE = 2.0**-30


def half_of_largest_stable(radius: Callable[[float], float]) -> float:
    """Half the largest a = 1, ½, ¼, … for which `radius(a)`, a spectral radius, is below one."""
    a = 1.0
    while a > SMALLEST_SHARE and not radius(a) < 1:
        a /= 2
    return a / 2


def spectral_radius(algorithm: Any, modes: Array) -> float:
    """Of one iteration on costs with L = 1, the largest over `modes`, the eigenvalues of W."""
    if not modes.size:
        return 0.0
    here = Here(1, 0, (), ())  # no first iteration, which may differ
    bowl = _Bowl(len(modes))
    state = algorithm.init(np.zeros(len(modes), complex), bowl, here)
    images = []
    for k in range(len(state)):
        unit = [np.full(len(modes), float(j == k), complex) for j in range(len(state))]
        step = algorithm.step(type(state)(*unit), bowl, here)
        images.append(np.stack(_ended(step, modes)))
    maps = np.moveaxis(np.stack(images), 2, 0)  # (mode, array it comes from, array it goes to)
    return float(np.abs(np.linalg.eigvals(maps)).max())


def _ended(step: Any, modes: Array) -> Any:
    reply = None
    while True:
        try:
            effect = step.send(reply)
        except StopIteration as stop:
            return stop.value
        assert isinstance(effect, Mix), "an affine step asks for nothing but mixing"
        reply = tuple(modes * value for value in effect.values)


class _Bowl:
    """½‖x‖², for states of complex numbers."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def gradient(self, x: Array) -> Array:
        return x
