"""An own cost, minimised by eight nodes that never show it. Run it: python PROJECT.py"""

from dataclasses import dataclass

import numpy as np

import p2pdo


@dataclass(frozen=True)
class Distance:
    """f(x) = ½‖A(x − a)‖²; the matrix A and the point a are private to their node."""

    A: np.ndarray
    a: np.ndarray

    @property
    def dimension(self):
        return len(self.a)

    def value(self, x):
        return 0.5 * float(np.sum((self.A @ (x - self.a)) ** 2))

    def gradient(self, x):
        return self.A.T @ (self.A @ (x - self.a))


def problems(nodes=8, dimension=3):
    rng = np.random.default_rng(7)
    return [Distance(np.eye(dimension), rng.normal(size=dimension)) for _ in range(nodes)]


def solve(on="inprocess"):
    costs = problems()
    return p2pdo.run(costs, parameters={"step_size": 0.1}, nodes=len(costs), rounds=500, on=on)


if __name__ == "__main__":
    print(solve().x, "should be", np.mean([cost.a for cost in problems()], axis=0))
