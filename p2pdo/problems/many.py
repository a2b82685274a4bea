"""Very many costs of one kind, held as the arrays of one stack.

A network of 10⁵ nodes has no use for 10⁵ objects of Python. `Many` is the sequence of its costs:
whoever works on all at once takes `stack`, whoever asks for node i's cost has it made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, overload

import numpy as np

from p2pdo.types import Array


class Stack(Protocol):
    """N costs at once; X has shape (N, d), row i is node i's."""

    @property
    def dimension(self) -> int: ...

    @property
    def smoothness(self) -> float:
        """The largest Lᵢ."""
        ...

    def __len__(self) -> int: ...

    def cost(self, i: int) -> Any:
        """Node i's cost by itself."""
        ...

    def value(self, X: Array) -> float:
        """Σᵢ fᵢ(xᵢ)."""
        ...

    def gradient(self, X: Array) -> Array: ...

    def minimiser(self) -> Array:
        """Return argmin Σᵢ fᵢ of shape (d,)."""
        ...


class Many(Sequence[Any]):
    """The costs of a stack, in node order."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def __len__(self) -> int:
        return len(self.stack)

    @overload
    def __getitem__(self, i: int) -> Any: ...
    @overload
    def __getitem__(self, i: slice) -> list[Any]: ...
    def __getitem__(self, i: int | slice) -> Any:
        places = range(len(self))[i]
        if isinstance(places, range):
            return [self.stack.cost(place) for place in places]
        return self.stack.cost(places)

    def __iter__(self) -> Iterator[Any]:
        return (self.stack.cost(i) for i in range(len(self)))

    def value(self, x: Array) -> float:
        """F(x) = Σᵢ fᵢ(x) for x of shape (d,)."""
        return self.stack.value(np.broadcast_to(x, (len(self), len(x))))
