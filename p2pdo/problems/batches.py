"""Mini-batches: which samples an iteration sees, as a function of (seed, node, iteration).

Each iteration draws its rows anew, without replacement within it, so there is no epoch and no
position in one to keep: a run goes on from any iteration as if unbroken.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2pdo.effects import Here
from p2pdo.errors import ConfigError
from p2pdo.problems.checks import whole_number
from p2pdo.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """What an iteration draws: row numbers, and a seed for a library's own random numbers."""

    rows: Array
    seed: int


def draw(here: Here, samples: int, size: int) -> Draw:
    """`size` of the rows 0 … samples − 1, all of them in order where there are no more."""
    rng = here.data_rng()
    rows = np.arange(samples) if size == samples else rng.choice(samples, size, replace=False)
    return Draw(rows, int(rng.integers(2**63)))


def checked_size(batch_size: int | None, samples: int) -> int:
    """The batch size, where None is all samples.

    Raises:
        ConfigError: it is no whole number, or more than there are samples.
    """
    if batch_size is None:
        return samples
    size = whole_number("batch_size", batch_size)
    if size > samples:
        raise ConfigError(
            f"batch_size is {size}, but this node has {samples} samples",
            hint=f"at most {samples}, or None for all of them in every step",
        )
    return size
