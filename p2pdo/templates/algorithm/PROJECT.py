"""An own method, to be changed into another: gradient tracking. Run it: python PROJECT.py"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import p2pdo
from p2pdo.algorithms import Algorithm, Limit, Requires, Stochastic
from p2pdo.effects import Here, Step, mix
from p2pdo.problems import Gradient


class State(NamedTuple):
    x: Any  # the decision variable
    y: Any  # what tracks the mean gradient
    g: Any  # the gradient at x


@dataclass(frozen=True)
class Method(Algorithm[State]):
    """x⁺ = W x − α y, y⁺ = W y + ∇f(x⁺) − ∇f(x): exact where W is doubly stochastic."""

    step_size: float
    requires: ClassVar[Requires] = Requires(Stochastic.DOUBLY, oracle=Gradient)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    affine: ClassVar[bool] = True  # linear on quadratic costs: p2pdo finds a stable default step

    def init(self, x: Any, problem: Gradient, here: Here) -> State:
        return State(x, problem.gradient(x), problem.gradient(x))

    def step(self, s: State, problem: Gradient, here: Here) -> Step[State]:
        x, y = yield from mix(s.x, s.y)
        x = x - self.step_size * s.y
        g = problem.gradient(x)
        return State(x, y + g - s.g, g)


if __name__ == "__main__":
    summary = p2pdo.run("least-squares", Method(step_size=0.1), nodes=8, rounds=2000).summary
    print(f"{summary.distance_to_optimum:.1e} from the optimum")
