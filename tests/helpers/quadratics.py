"""Problems that a test may take where it needs some."""

from __future__ import annotations

import numpy as np

from p2pdo.problems.quadratic import Quadratic


def problems(n: int = 4) -> list[Quadratic]:
    rng = np.random.default_rng(0)
    return [Quadratic(np.eye(3) * (1 + i), rng.standard_normal(3)) for i in range(n)]
