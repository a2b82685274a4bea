"""Distributed gradient descent. Three recursions carry the name; all are here, named apart.

With a constant step size either stops at a distance O(α) from the optimum: use gradient tracking
where the optimum itself is wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from p2pdo.algorithms.base import Algorithm, Limit, Requires, Stochastic, require_positive
from p2pdo.algorithms.theory import (
    Theorem,
    descent_rate,
    over_smoothness,
    penalised_descent_rate,
)
from p2pdo.effects import Here, Step, mix
from p2pdo.problems.base import Gradient
from p2pdo.types import Array

DIFFUSES = Theorem("Chen & Sayed 2012", descent_rate, over_smoothness(lambda _: 2.0))


class DgdState(NamedTuple):
    x: Array  # decision variable, shape (d,)


@dataclass(frozen=True)
class Dgd(Algorithm[DgdState]):
    """Distributed gradient descent (Nedić & Ozdaglar 2009, eq. 3): gradient at the own point.

    x⁺ᵢ = Σⱼ wᵢⱼ xⱼ − α ∇fᵢ(xᵢ)

    Assumes W doubly stochastic, fᵢ convex and L-smooth, α ≤ 1/L. Bias O(α) for constant α.
    """

    step_size: float

    requires: ClassVar[Requires] = Requires(
        weights=Stochastic.DOUBLY, oracle=Gradient, time_varying=True
    )
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.NEAR_OPTIMUM
    theorem: ClassVar[Theorem] = Theorem(
        "Yuan, Ling & Yin 2016, as gradient descent on a penalised cost",
        penalised_descent_rate,
        over_smoothness(lambda at: 1 + at.smallest),
        symmetric=True,
    )

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    def init(self, x: Array, problem: Gradient, here: Here) -> DgdState:  # noqa: ARG002
        return DgdState(x)

    def step(self, s: DgdState, problem: Gradient, here: Here) -> Step[DgdState]:  # noqa: ARG002
        x_mixed = yield from mix(s.x)
        return DgdState(x_mixed - self.step_size * problem.gradient(s.x))


@dataclass(frozen=True)
class DgdCta(Algorithm[DgdState]):
    """Combine-then-adapt (Ram, Nedić & Veeravalli 2010, eq. 3): gradient at the mixed point.

    zᵢ = Σⱼ wᵢⱼ xⱼ        x⁺ᵢ = zᵢ − α ∇fᵢ(zᵢ)

    Assumes what `Dgd` assumes. The paper's projection is onto the whole space here.
    """

    step_size: float

    requires: ClassVar[Requires] = Requires(
        weights=Stochastic.DOUBLY, oracle=Gradient, time_varying=True
    )
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.NEAR_OPTIMUM
    theorem: ClassVar[Theorem] = DIFFUSES

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    def init(self, x: Array, problem: Gradient, here: Here) -> DgdState:  # noqa: ARG002
        return DgdState(x)

    def step(self, s: DgdState, problem: Gradient, here: Here) -> Step[DgdState]:  # noqa: ARG002
        z = yield from mix(s.x)
        return DgdState(z - self.step_size * problem.gradient(z))


@dataclass(frozen=True)
class Atc(Algorithm[DgdState]):
    """Adapt-then-combine, diffusion (Cattivelli & Sayed 2010; Chen & Sayed 2012).

    ψᵢ = xᵢ − α ∇fᵢ(xᵢ)        x⁺ᵢ = Σⱼ wᵢⱼ ψⱼ

    Assumes what `Dgd` assumes; stable for α < 2/L whatever the smallest eigenvalue of W is.
    """

    step_size: float

    requires: ClassVar[Requires] = Requires(weights=Stochastic.DOUBLY, oracle=Gradient)
    batched: ClassVar[bool] = True
    unison: ClassVar[bool] = True
    affine: ClassVar[bool] = True
    limit: ClassVar[Limit] = Limit.NEAR_OPTIMUM
    theorem: ClassVar[Theorem] = DIFFUSES

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    def init(self, x: Array, problem: Gradient, here: Here) -> DgdState:  # noqa: ARG002
        return DgdState(x)

    def step(self, s: DgdState, problem: Gradient, here: Here) -> Step[DgdState]:  # noqa: ARG002
        x = yield from mix(s.x - self.step_size * problem.gradient(s.x))
        return DgdState(x)
