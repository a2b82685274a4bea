"""Pre-flight: what can be known of a run before it runs.

`look_at(job)` sets what the method requires beside what was found, tells the figures that decide
how fast it is, and predicts the rate, and for quadratic costs also the iteration at which the
tolerance is reached. A step size with which the run cannot converge is found here, and
`look_before` refuses it with the range that is safe.

What a prediction rests on is told with it:

    exact       the costs are quadratic, and the network's own iteration matrix was formed
    optimum     that matrix at the optimum: the rate in the long run, of runs that come near
    theorem     a bound from the method's theorem: the run is not slower
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from p2pdo.algorithms.base import Limit, Stochastic
from p2pdo.api.jobs import Job
from p2pdo.api.predictions import Basis, Prediction, constants, curvatures, predict, theorem_of
from p2pdo.errors import ConfigError
from p2pdo.graphs.spectral import spectrum
from p2pdo.graphs.weights import Weights, is_symmetric, stochastic
from p2pdo.protocol.coding import NONE
from p2pdo.protocol.plan import Plan
from p2pdo.reporting import formats
from p2pdo.simulation.linearised import largest_step
from p2pdo.types import Plain

QUICK = 800
"""Entries of all nodes' states together, of which the matrix is formed before every run."""

THOROUGH = 2000
"""The same for who asks for a prediction."""

_DIVERGES = 1 + 1e-9

_IN_WORDS = {
    "exact": "exact for these costs",
    "optimum": "near the optimum",
    "theorem": "or faster",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One requirement beside what was found.

    `verdict` is ok, unsafe, not proved, or ok near it: near the optimum.
    """

    requirement: str
    found: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Range:
    """Step sizes from zero to `below` converge; of a theorem `source` is the paper."""

    below: float | None
    basis: Basis
    source: str | None = None


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What is known of a run before it runs.

    Attributes:
        has_bias: whether the method stops at a limit of its own, near the optimum.
        step_size: the one that it will run with; None where the method has none.
        safe: the step sizes that converge, where that is known.
    """

    algorithm: str
    problem: str
    nodes: int
    topology: str
    dimension: int
    has_bias: bool
    slem: float | None
    spectral_gap: float | None
    smoothness: float | None
    strong_convexity: float | None
    step_size: float | None
    tol: float | None
    prediction: Prediction
    safe: Range | None = None
    checks: Sequence[Check] = field(default=())

    @property
    def condition_number(self) -> float | None:
        """The largest Lᵢ over the smallest μᵢ."""
        if self.smoothness is None or not self.strong_convexity:
            return None
        return self.smoothness / self.strong_convexity

    @property
    def is_unsafe(self) -> bool:
        """Whether the run cannot converge."""
        p = self.prediction
        return p.is_formed and p.rate is not None and p.rate > _DIVERGES

    def to_plain(self) -> dict[str, Plain]:
        plain = asdict(self)
        plain["condition_number"] = self.condition_number
        plain["is_unsafe"] = self.is_unsafe
        plain["checks"] = [asdict(check) for check in self.checks]
        return plain

    def lines(self) -> list[tuple[str, str]]:
        """Label and figure, for people."""
        p, lines = self.prediction, self._mixing()
        if self.smoothness is not None:
            lines.append(("L, the largest", formats.real(self.smoothness)))
        if self.strong_convexity is not None:
            lines.append(("μ, the smallest", formats.real(self.strong_convexity)))
        if self.condition_number is not None:
            lines.append(("condition number", formats.real(self.condition_number)))
        if p.rate is not None and p.basis is not None:
            whose = ", to its own limit" if self.has_bias else ""
            words = f"{p.rate:.6f} an iteration{whose}, {_IN_WORDS[p.basis]}"
            lines.append(("predicted rate", words))
        if p.proved is not None and p.basis != "theorem":
            lines.append(("proved rate", f"{p.proved:.6f} or faster ({p.source})"))
        if p.gap is not None:
            lines.append(("gap at its limit", formats.small(p.gap)))
        if self.tol is not None:
            when = "not known" if p.iterations is None else formats.count(p.iterations)
            if self.is_unsafe or (p.gap is not None and p.gap > self.tol):
                when = "never"
            lines.append((f"iterations to {self.tol:g}", when))
        return lines

    def _mixing(self) -> list[tuple[str, str]]:
        if self.slem is None:
            return [("SLEM", _NOT_COMPUTED)] if self.nodes > MOST_LOOKED_AT else []
        return [("SLEM", f"{self.slem:.6f}"), ("spectral gap", formats.real(1 - self.slem))]


def look_at(job: Job, largest: int = THOROUGH, *, ranges: bool = True) -> Preflight:
    """What is known of a job that `resolve` has made.

    `largest` is how many entries all nodes' states may have for the matrix to be formed. Without
    `ranges` the exact range of step sizes is looked for only where the given one is unsafe.
    """
    plan = job.plan
    at = constants(plan)
    costs = curvatures(job, largest)
    prediction = predict(job, at, costs, largest)
    slem = None if at is None else at.slem
    if plan.weights.varies or (at is None and ranges):  # of large networks eigenvalues take long
        slem = _slem(plan.weights)
    found = Preflight(
        algorithm=job.algorithm,
        problem=job.problem,
        nodes=plan.nodes,
        topology=job.topology,
        dimension=int(plan.problems[0].dimension),
        has_bias=type(plan.algorithm).limit is Limit.NEAR_OPTIMUM,
        slem=slem,
        spectral_gap=None if slem is None else 1 - slem,
        smoothness=None if at is None else at.smoothness,
        strong_convexity=None if at is None else at.convexity,
        step_size=getattr(plan.algorithm, "step_size", None),
        tol=plan.tol,
        prediction=prediction,
    )
    theorem, safe = theorem_of(plan, at), None
    if costs is not None and prediction.is_formed and (ranges or found.is_unsafe):
        safe = Range(largest_step(plan, costs.hessians, largest), costs.basis)
    elif theorem is not None and at is not None:
        safe = Range(theorem.largest_step(at), "theorem", theorem.source)
    if safe is not None and safe.below is not None:
        found = replace(found, safe=safe)
    return replace(found, checks=_checks(found, plan))


def look_before(job: Job, *, force: bool) -> Job:
    """The job with what was predicted of it; one that cannot converge is refused.

    With `force` it is not, and carries the warning.

    Raises:
        ConfigError: it cannot converge; with the range of step sizes that is safe.
    """
    if job.plan.codec != NONE:
        return job  # what is left out is no linear map of the states
    found = look_at(job, QUICK, ranges=False)
    warning = danger(found)
    if warning is not None and not force:
        remedy = f"{_remedy(found)}, or --force (force=True) to run it as it is"
        raise ConfigError(warning, hint=remedy)
    return replace(job, rate=found.prediction.rate, warnings=() if warning is None else (warning,))


def danger(found: Preflight) -> str | None:
    """Why the run cannot converge, in one sentence; None where nothing says so."""
    if not found.is_unsafe:
        return None
    where = "on these costs" if found.prediction.basis == "exact" else "near the optimum"
    what = found.algorithm
    if found.step_size is not None:
        what += f" with step_size={found.step_size:g}"
    return (
        f"{what} diverges {where}: an iteration multiplies the distance "
        f"to the limit by {found.prediction.rate:.4g}"
    )


def _remedy(found: Preflight) -> str:
    if found.safe is None or found.safe.below is None:
        return "other parameters; p2pdo plan tells the rate"
    below = found.safe.below
    return f"a step size below {below:.3g}, for example --set step_size={below / 2:.2g}"


MOST_LOOKED_AT = 100_000
"""Nodes beyond which eigenvalues would take longer than many a run."""

_NOT_COMPUTED = f"not computed of more than {MOST_LOOKED_AT:,} nodes; p2pdo topo does it"


def _slem(weights: Weights) -> float | None:
    if weights.n > MOST_LOOKED_AT:
        return None
    try:
        return spectrum(weights).slem
    except ConfigError:  # too many nodes to tell
        return None


# ---- the table ----


def _checks(found: Preflight, plan: Plan) -> list[Check]:
    needs = plan.algorithm.requires
    weights = stochastic(plan.weights)
    kinds = {
        Stochastic.NONE: "no sums of one",
        Stochastic.ROW: "row stochastic",
        Stochastic.COLUMN: "column stochastic",
        Stochastic.DOUBLY: "doubly stochastic",
    }
    symmetry = "symmetric" if is_symmetric(plan.weights) else "not symmetric"
    wanted = "any weights" if needs.weights is Stochastic.NONE else f"{kinds[needs.weights]} W"
    graph = "directed" if plan.graph.directed else "undirected"
    checks = [
        Check(
            "an undirected, connected graph" if needs.undirected else "a connected graph",
            f"{graph}, connected",
            "ok",
        ),
        Check(
            f"symmetric, {wanted}" if needs.symmetric else wanted,
            f"{kinds[weights]}, {symmetry}",
            "ok",
        ),
        Check(_oracle(needs.oracle), type(plan.problems[0]).__name__, "ok"),
    ]
    if found.step_size is not None:
        checks.append(_check_step(found))
    return checks


def _oracle(oracle: type) -> str:
    return {
        "Problem": "any cost",
        "Gradient": "a cost with a gradient",
        "Prox": "a cost with a proximal map",
        "Composite": "a smooth cost and a proximal map",
        "FiniteSum": "a cost with gradients of its terms",
        "Hessian": "a cost with a Hessian",
        "DualGradient": "a cost with its conjugate's gradient",
        "Private": "a cost with gradients of its terms and a secret of its node",
        "Secret": "a cost with a secret of its node",
        "Coupling": "nodes that share resources, such as allocation",
    }.get(oracle.__name__, f"a cost with the methods of {oracle.__name__}")


def _check_step(found: Preflight) -> Check:
    assert found.step_size is not None, "only where there is one"
    safe, wanted = found.safe, "a step size"
    is_below = False
    if safe is not None and safe.below is not None:
        wanted = f"step_size below {safe.below:.4g} ({safe.source or _IN_WORDS[safe.basis]})"
        is_below = found.step_size < safe.below
    return Check(wanted, f"{found.step_size:.4g}", _verdict(found, is_below=is_below))


def _verdict(found: Preflight, *, is_below: bool) -> str:
    p = found.prediction
    if found.is_unsafe:
        return "unsafe"
    if p.basis == "exact" or p.proved is not None or (is_below and p.basis != "optimum"):
        return "ok"
    return "ok near it" if p.basis == "optimum" else "not proved"


__all__ = [
    "Check",
    "Preflight",
    "Range",
    "danger",
    "look_at",
    "look_before",
]
