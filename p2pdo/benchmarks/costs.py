"""The cost that is measured with; node processes import it, so it imports little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from p2pdo.types import Array


@dataclass(frozen=True)
class Distance:
    """½ ‖x − c‖² with c the same in all coordinates: a gradient costs no more than an exchange."""

    in_place: ClassVar[bool] = True

    size: int
    centre: float = 0.0
    smoothness: float = 1.0
    strong_convexity: float = 1.0
    is_quadratic: bool = True

    @property
    def dimension(self) -> int:
        return self.size

    def value(self, x: Array) -> float:
        return 0.5 * float(np.sum((x - x.dtype.type(self.centre)) ** 2))

    def gradient(self, x: Array) -> Array:
        difference: Array = x - x.dtype.type(self.centre)
        return difference
