"""An own algorithm in thirty lines: EXTRA (Shi, Ling, Wu & Yin 2015), run like the built-in ones.

The library has it too, as `extra`. Hold a method of your own to the library's laws with
`pytest --p2pdo-laws examples/own_algorithm.py:Extra`.

x¹ = W x⁰ − α ∇f(x⁰)        x⁺ = x + W x − W̃ x⁻ − α (∇f(x) − ∇f(x⁻)),  W̃ = (I + W) / 2
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

import p2pdo
from p2pdo.algorithms import Algorithm, Requires, Stochastic
from p2pdo.effects import Here, Step, mix
from p2pdo.problems import Gradient
from p2pdo.types import Array


class ExtraState(NamedTuple):
    x: Array  # decision variable
    correction: Array  # x − W̃ x⁻ + α ∇f(x⁻): what the last iteration leaves to this one


@dataclass(frozen=True)
class Extra(Algorithm[ExtraState]):
    step_size: float
    requires: ClassVar[Requires] = Requires(Stochastic.DOUBLY, symmetric=True, oracle=Gradient)

    def init(self, x: Array, problem: Gradient, here: Here) -> ExtraState:
        return ExtraState(x, np.zeros_like(x))

    def step(self, s: ExtraState, problem: Gradient, here: Here) -> Step[ExtraState]:
        x_mixed = yield from mix(s.x)
        descent = self.step_size * problem.gradient(s.x)
        x = x_mixed - descent + s.correction
        return ExtraState(x, x - (s.x + x_mixed) / 2 + descent)


def main() -> None:
    for algorithm in (Extra(step_size=0.1), "dgd"):
        result = p2pdo.run("least-squares", algorithm=algorithm, nodes=8, rounds=2000)
        summary = result.summary
        print(f"{summary.algorithm:8} distance to the optimum {summary.distance_to_optimum:.1e}")
        if isinstance(algorithm, Extra):
            assert summary.distance_to_optimum < 1e-10  # exact, where dgd keeps its bias


if __name__ == "__main__":
    main()
