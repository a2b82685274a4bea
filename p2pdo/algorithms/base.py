"""An algorithm is a pure step.

    init(x, problem, here) -> state              state of iteration 0 from a start x of shape (d,)
    step(state, problem, here) -> next state     a generator: asks for exchanges, see effects.py

The state is a NamedTuple of arrays and scalars with the decision variable in `x`. It is whole at
every iteration boundary, so iteration limits, tolerance, abort, progress and observation belong
to whoever runs the step and never to its author. How often a step exchanges may depend on
parameters, `here.iteration` and `here.common_rng` only, never on local data.

Parameters are the fields of a frozen dataclass: plain numbers that travel by name.

What a class declares beside its step (`requires`, `limit`, `theorem`, `invariants`, `missing`,
`batched`, `mixes`, `affine`) is what `p2pdo algorithms` lists, what is checked before a run and
while it lasts, and what `p2pdo.testing.laws` holds it to.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from p2pdo.algorithms.invariants import Invariant
from p2pdo.algorithms.stability import half_of_largest_stable, spectral_radius
from p2pdo.algorithms.theory import Theorem
from p2pdo.effects import Here, Step
from p2pdo.errors import ConfigError
from p2pdo.graphs.weights import Stochastic, Weights
from p2pdo.problems.base import Gradient, Problem
from p2pdo.types import Array


@dataclass(frozen=True, slots=True)
class Requires:
    """What must hold for the stated convergence; checked before a run starts.

    Attributes:
        weights: which sums of the mixing matrix must be one.
        symmetric: whether W must equal its transpose.
        undirected: whether both ends of an edge must hear each other.
        oracle: the protocol of `problems.base` that the step calls.
        time_varying: whether W may be another in each iteration, on a graph that is connected
            over time, each W with the sums that are required.
    """

    weights: Stochastic = Stochastic.ROW
    symmetric: bool = False
    oracle: type[Problem] = Problem
    undirected: bool = False
    time_varying: bool = False


class Limit(Enum):
    """Where all nodes' x go, in words that follow "reaches"."""

    OPTIMUM = "the optimum"
    NEAR_OPTIMUM = "a distance O(step_size) from the optimum"
    AGREEMENT = "a weighted mean of the starts, the plain one where W is doubly stochastic"
    MEAN = "the mean of the starts"
    LARGEST = "the largest of the starts, entry by entry"
    SMALLEST = "the smallest of the starts, entry by entry"
    ALL = "1 where all starts are positive, else 0, entry by entry"
    HULL = "values between the smallest and the largest start, one value on a complete graph"
    ONE_VALUE = "one value between the smallest and the largest of the starts"
    UNSTATED = "what its author says"


CONSENSUS = (
    *(Limit.AGREEMENT, Limit.MEAN, Limit.LARGEST, Limit.SMALLEST, Limit.HULL),
    *(Limit.ONE_VALUE, Limit.ALL),
)


class Missing(Enum):
    """What a method does where a neighbour's message of this iteration never arrives.

    The exchange delivers every message exactly once, or ends the run naming the node. Where values
    are lost on purpose (`protocol.drops`), a method that holds gets what has come, and one that
    waits is refused.
    """

    WAIT = "waits for it"
    HOLD = "goes on with what it holds, and stays exact"


@dataclass(frozen=True, slots=True)
class CostBounds:
    """What all costs together tell of their curvature, and the graph of who shares them.

    Attributes:
        smoothness: L = maxᵢ Lᵢ.
        least_smoothness: minᵢ Lᵢ.
        convexity: μ = minᵢ μᵢ, 0 where a cost is only convex.
        mean_convexity: the mean of all μᵢ, which the mean cost has at least.
        mean_degree: how many neighbours a node hears, on average over all nodes.
        largest_degree: how many the one hears that hears most.
    """

    smoothness: float
    least_smoothness: float
    convexity: float
    mean_convexity: float
    mean_degree: float
    largest_degree: float


class HasDecision(Protocol):
    """A state: any NamedTuple with the decision variable in `x`."""

    @property
    def x(self) -> Array: ...


S = TypeVar("S", bound=HasDecision)


class Method(ABC):
    """What synchronous and asynchronous methods declare alike.

    Raises:
        ConfigError: where a class is made that declares `invariants` in another form.
    """

    requires: ClassVar[Requires]
    limit: ClassVar[Limit] = Limit.UNSTATED
    from_network: ClassVar[Mapping[str, str]] = {}
    """Parameters that the weights tell where they are not given, in words; see `of_network`."""
    from_costs: ClassVar[Mapping[str, str]] = {}
    """Parameters that all costs' L and μ tell where they are not given; see `of_costs`."""
    needs_costs: ClassVar[bool] = True
    """Whether costs that do not tell them are refused; else the parameters have their defaults."""
    theorem: ClassVar[Theorem | None] = None
    """What is proved of its step size and rate; see `theory`."""
    invariants: ClassVar[tuple[Invariant, ...]] = ()
    """What its states keep; see `invariants`."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        declared: Any = cls.invariants
        if not (isinstance(declared, tuple) and all(isinstance(i, Invariant) for i in declared)):
            raise ConfigError(
                f"the invariants of {cls.__name__} are no tuple of Invariant",
                hint='for example invariants = (equal_means("y", "g"),), from p2pdo.algorithms',
            )

    @classmethod
    def of_network(cls, weights: Weights) -> Mapping[str, float]:  # noqa: ARG003 - most need none
        """The parameters named by `from_network` for these weights, found when a run is submitted.

        Raises:
            ConfigError: the weights do not have them.
        """
        return {}

    def privacy(self, iterations: int) -> Mapping[str, float]:  # noqa: ARG002 - most have none
        """What so many iterations tell of one sample of a node; empty where nothing is hidden."""
        return {}

    @classmethod
    def of_costs(cls, bounds: CostBounds) -> Mapping[str, float]:  # noqa: ARG003 - as above
        """The parameters named by `from_costs` for these costs, found when all have told theirs.

        Raises:
            ConfigError: they need costs that are strongly convex.
        """
        return {}

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - of many it is one
        """The share of 1/L that is a stable step size on quadratic costs, with a margin.

        The step size used when none is given is 1/L, from L = maxᵢ Lᵢ. Where all costs are
        quadratic, the curvature L is there at every x, and a method may be unstable at 1/L; then
        it is this share of it. `modes` are the eigenvalues of W other than 1.
        """
        return 1.0


class Algorithm(Method, Generic[S]):
    """One method of distributed optimization; see the module's docstring for the contract."""

    batched: ClassVar[bool] = False
    """Whether a step works unchanged on stacked states: the last axis is its vector."""
    unison: ClassVar[bool] = False
    """Whether that step has, to the bit, what each node's own step would have; see `unison_of`."""
    mixes: ClassVar[bool] = True
    """Whether weighted sums are all that a step asks of the network; only those can be coded."""
    affine: ClassVar[bool] = False
    """Whether on quadratic costs a step is a linear map of the state, without random numbers."""
    missing: ClassVar[Missing] = Missing.WAIT

    @abstractmethod
    def init(self, x: Array, problem: Any, here: Here) -> S:
        """The state of iteration 0."""

    @abstractmethod
    def step(self, s: S, problem: Any, here: Here) -> Step[S]:
        """One iteration."""

    @classmethod
    def safe_share(cls, modes: Array) -> float:
        """As of every `Method`.

        An affine step tells it by itself; a method whose step is none, and for which 1/L is too
        much, says it here.
        """
        if not cls.affine:
            return 1.0
        return half_of_largest_stable(lambda a: spectral_radius(cls(step_size=a), modes))  # type: ignore[call-arg]


def require_positive(name: str, value: float) -> None:
    """Refuses a parameter that is zero, negative, infinite or not a number."""
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(
            f"{name} must be a positive number, got {value}",
            hint=f"for example --set {name}=0.01, or leave it out for the default",
        )


def require_share(name: str, value: float) -> None:
    """Refuses a parameter that is not in (0, 1]."""
    if not 0 < value <= 1:
        raise ConfigError(
            f"{name} must lie in (0, 1], got {value}", hint=f"for example --set {name}=0.5"
        )


def require_count(name: str, value: int) -> None:
    """Refuses a number of times that is less than one."""
    if value < 1:
        raise ConfigError(
            f"{name} must be one or more, got {value}", hint=f"for example --set {name}=5"
        )


def require_strong_convexity(convexity: float) -> float:
    """μ as it is; refuses costs that are only convex."""
    if not convexity > 0:
        raise ConfigError(
            "these costs are not strongly convex (their μ is 0), which this method is made for",
            hint="penalise them, for example l2=0.01, or give the parameters with --set",
        )
    return convexity


__all__ = [
    "Algorithm",
    "CostBounds",
    "Gradient",
    "HasDecision",
    "Limit",
    "Method",
    "Missing",
    "Requires",
    "Stochastic",
    "require_count",
    "require_positive",
    "require_share",
    "require_strong_convexity",
]
