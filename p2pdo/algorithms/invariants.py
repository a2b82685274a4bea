"""What all nodes' states keep: sums over the nodes that are zero at every iteration boundary.

A mean tracker is the mean gradient, the dual variables add up to nothing, the weights of push-sum
to the number of nodes. Each node has a part of such a sum; a wrong sign, a weight that was dropped,
a row of W that one node changed by itself show in the sum, long before they show in a result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pdo.types import Array


@dataclass(frozen=True, slots=True)
class Invariant:
    """`part` of each node's state adds up to zero over all nodes.

    Attributes:
        name: what is kept, as an equation.
        part: from a state an array, entry by entry of its arrays, so that it takes stacked ones.
    """

    name: str
    part: Callable[[Any], Array]

    def residual(self, states: Sequence[Any]) -> Array:
        """The sum, in node order."""
        return np.asarray(sum(self.part(state) for state in states))


def zero_mean(name: str) -> Invariant:
    """Of the state's array of that name."""
    return Invariant(f"mean {name} = 0", lambda state: np.asarray(getattr(state, name)))


def equal_means(name: str, other: str) -> Invariant:
    """Of two of the state's arrays."""
    return Invariant(
        f"mean {name} = mean {other}",
        lambda state: np.asarray(getattr(state, name) - getattr(state, other)),
    )


TRACKS = (equal_means("y", "g"),)
"""Of methods whose tracker y follows the mean of the gradients g."""
