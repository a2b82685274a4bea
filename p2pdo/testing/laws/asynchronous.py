"""The laws of asynchronous algorithms: functions of a case, which return or raise as others do.

    keeps_its_ledger         at every event, under losses; in the end all that was sent has arrived
    equals_its_recursion     the paper's, replayed along the same events, to 1e-11
    reaches_its_limit        in fair weather
    survives_losses          the same with 30 % of the messages lost and 20 % doubled
    has_one_trace_a_seed     one seed, one order of events, the same bits
    goes_on_from_a_state     no hidden memory: copied states lead to the same bits
    leaves_arrays_alone      what was sent or kept never changes
    keeps_the_dtype          float32 in, float32 out
    refuses_other_networks   what `requires` excludes is refused with a remedy

Each is held on every network that `requires` allows, one node alone and two included, in simulated
time.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.base import Limit
from p2pdo.algorithms.catalogue import build, name_of as name_of_algorithm, needs_smoothness
from p2pdo.graphs.spectral import modes
from p2pdo.protocol.asynchronous.channels import Message
from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.judging import Judge, Judgement, Objective, Report
from p2pdo.protocol.plan import make_start
from p2pdo.simulation.asynchronous import CALM, Event, Hazards, Simulation, Watch, members_of
from p2pdo.testing.laws.costs import COSTS, DIMENSION, costs_for
from p2pdo.testing.laws.dense import Dense, dense_of
from p2pdo.testing.laws.held import NO_LIMIT
from p2pdo.testing.laws.networks import Network, networks_for, require_remedies
from p2pdo.testing.laws.settings import SEED
from p2pdo.testing.outcomes import hold, skip
from p2pdo.types import Array

BALANCED = 1e-9
REPLAYED = 1e-11
SETTLING = 10
"""Rounds of delivery in which questions are answered and answers taken."""
ROUGH = Hazards(drop=0.3, duplicate=0.2)

AsynchronousRecursion: TypeAlias = Callable[[Dense, Iterable[Event]], Iterator[Array]]
"""From the network and what happens there, X of shape (n, d) after each event."""


@dataclass(frozen=True)
class AsynchronousCase:
    """What is held to the laws.

    Attributes:
        algorithm: with the parameters of the recursion.
        recursion: the paper's, in plain NumPy, sharing no code with the algorithm.
        share: of 1/L that is the step size with which it goes to its limit; None takes the default.
        rounds: wake-ups of each node in which the limit is reached.
        within: how near, in the Euclidean norm at every node.
        label: what distinguishes it from another case of its class.
    """

    algorithm: AsynchronousAlgorithm[Any]
    recursion: AsynchronousRecursion | None = None
    share: float | None = None
    rounds: int = 5000
    within: float = 1e-9
    label: str = ""

    @property
    def name(self) -> str:
        name = name_of_algorithm(type(self.algorithm))
        return f"{name} {self.label}" if self.label else name


AsynchronousLaw: TypeAlias = Callable[[AsynchronousCase], None]


@dataclass(frozen=True)
class _Setting:
    network: Network
    cost: str

    def __str__(self) -> str:
        return f"on {self.network} with {self.cost} costs"

    def plan(
        self,
        algorithm: AsynchronousAlgorithm[Any],
        rounds: int,
        dtype: str = "float64",
    ) -> AsynchronousPlan:
        network = self.network
        return AsynchronousPlan(
            algorithm,
            COSTS[self.cost](network.n).problems,
            network.graph,
            network.weights,
            [make_start("normal", DIMENSION, i, SEED, dtype) for i in range(network.n)],
            rounds,
            observe_every=max(rounds, 1),
            seed=SEED,
        )


def _settings(algorithm: AsynchronousAlgorithm[Any]) -> list[_Setting]:
    networks, costs = networks_for(algorithm), costs_for(algorithm.requires.oracle)
    hold(bool(networks), "no network is allowed by what it requires")
    hold(bool(costs), f"no cost has the oracle {algorithm.requires.oracle.__name__}")
    return [
        *(_Setting(network, costs[0]) for network in networks),
        *(_Setting(networks[0], cost) for cost in costs[1:]),
    ]


def _run(
    plan: AsynchronousPlan,
    watch: Watch | None = None,
    *,
    delay_seed: int = 0,
    hazards: Hazards = ROUGH,
) -> tuple[list[Report], list[Member[Any]]]:
    judge = Judge(Objective(plan.problems), plan.nodes, None)
    simulation = Simulation(plan, judge, _ignore, delay_seed, watch, hazards=hazards)
    return simulation.run(lambda: None), simulation.members


def _ignore(_judgement: Judgement) -> None:
    pass


# ---- the laws ----


def keeps_its_ledger(case: AsynchronousCase) -> None:
    for setting in _settings(case.algorithm):

        def balance(event: Event, members: Sequence[Member[Any]], at: object = setting) -> None:
            off = members[event.node].ledger()
            hold(
                off <= BALANCED,
                f"node {event.node}'s ledger is off by {off:.1e} after {event.what} {at}",
            )

        plan = setting.plan(case.algorithm, 60)
        before = _total([member.mass() for member in members_of(plan)])
        _, members = _run(plan, balance)
        hold(_settles(members), f"what was sent has not all arrived {setting}")
        after = _total([member.mass() for member in members])
        for name, mass in before.items():
            off = _off(after[name], mass)
            hold(off <= BALANCED, f"Σ {name} is off by {off:.1e} when all has arrived {setting}")


def equals_its_recursion(case: AsynchronousCase) -> None:
    if case.recursion is None:
        skip("no `recursion` was given: an AsynchronousCase(algorithm, recursion) has the paper's")
    for setting in _settings(case.algorithm):
        plan = setting.plan(case.algorithm, 40)
        events: list[tuple[Event, Array]] = []

        def note(event: Event, members: Sequence[Member[Any]], told: list[Any] = events) -> None:
            told.append((event, np.stack([member.x for member in members])))

        _run(plan, note)
        dense = dense_of(plan, COSTS[setting.cost](plan.nodes).formulas)
        reference = case.recursion(dense, (event for event, _ in events))
        for (event, X), expected in zip(events, reference, strict=True):
            error = _off(X, expected)
            hold(
                error <= REPLAYED,
                f"off by {error:.1e} {setting} after the {event.what} at node {event.node} "
                f"at time {event.time:.2f}",
            )


def reaches_its_limit(case: AsynchronousCase) -> None:
    _reaches(case, CALM)


def survives_losses(case: AsynchronousCase) -> None:
    _reaches(case, ROUGH)


def has_one_trace_a_seed(case: AsynchronousCase) -> None:
    for setting in _settings(case.algorithm):
        plan = setting.plan(case.algorithm, 20)
        first, again, other = (_trace(plan, seed) for seed in (1, 1, 2))
        hold(first == again, f"one seed has two traces {setting}")
        hold(first[0] != other[0], f"another seed changes nothing {setting}")


def goes_on_from_a_state(case: AsynchronousCase) -> None:
    """Copies of all that a member is, in new members, lead to the same bits."""
    for setting in _settings(case.algorithm):
        plan = setting.plan(case.algorithm, 100)
        unbroken, post = members_of(plan), _Post(np.random.default_rng(5))
        _go_on(unbroken, post, 60)
        resumed, copied = members_of(plan), copy.deepcopy(post)
        for ours, theirs in zip(resumed, unbroken, strict=True):
            ours.state, ours.wakes = copy.deepcopy(theirs.state), theirs.wakes
            ours.sending = copy.deepcopy(theirs.sending)
            ours.receiving = copy.deepcopy(theirs.receiving)
        _go_on(unbroken, post, 60)
        _go_on(resumed, copied, 60)
        for ours, theirs in zip(resumed, unbroken, strict=True):
            hold(_bits(ours.state) == _bits(theirs.state), f"resumed with other bits {setting}")


def leaves_arrays_alone(case: AsynchronousCase) -> None:
    for setting in _settings(case.algorithm):
        kept: list[tuple[Array, bytes]] = []

        def note(event: Event, members: Sequence[Member[Any]], to: list[Any] = kept) -> None:
            member = members[event.node]
            sent = [part for end in member.sending.values() for part in end.latest.parts.values()]
            to += [(a, a.tobytes()) for a in _arrays((*member.state, *sent))]

        _run(setting.plan(case.algorithm, 10), note)
        for a, before in kept:
            hold(a.tobytes() == before, f"an array was changed after it was kept {setting}")


def keeps_the_dtype(case: AsynchronousCase) -> None:
    setting = _settings(case.algorithm)[0]
    for dtype in ("float32", "float64"):
        reports, _ = _run(setting.plan(case.algorithm, 5, dtype), hazards=CALM)
        found = {report.x.dtype.name for report in reports}
        hold(found == {dtype}, f"a start in {dtype} leads to {', '.join(sorted(found))}")


def refuses_other_networks(case: AsynchronousCase) -> None:
    require_remedies(case.algorithm)


ASYNCHRONOUS_LAWS: tuple[AsynchronousLaw, ...] = (
    keeps_its_ledger,
    equals_its_recursion,
    reaches_its_limit,
    survives_losses,
    has_one_trace_a_seed,
    goes_on_from_a_state,
    leaves_arrays_alone,
    keeps_the_dtype,
    refuses_other_networks,
)


# ---- limits ----


def _reaches(case: AsynchronousCase, hazards: Hazards) -> None:
    limit = case.algorithm.limit
    if limit is Limit.UNSTATED:
        skip(NO_LIMIT)
    for setting in _settings(case.algorithm):
        if limit is Limit.NEAR_OPTIMUM:
            _shrinks_its_distance(case, setting, hazards)
            break
        plan = setting.plan(_stepping(case, setting), case.rounds)
        plan = replace(plan, observe_every=25)
        judge = _NearEnough(plan, limit, case.within)
        simulation = Simulation(plan, judge, _ignore, 0, None, hazards=hazards)
        X = np.stack([report.x for report in simulation.run(lambda: None)])
        error = judge.error(X)
        hold(
            error <= case.within,
            f"{error:.1e} from {limit.value} {setting} after {case.rounds} wake-ups",
        )


def _shrinks_its_distance(case: AsynchronousCase, setting: _Setting, hazards: Hazards) -> None:
    """With the step, of which a quarter leaves less than half; of what is random, the mean."""
    distances = []
    for part in (1, 4):
        step: float = case.algorithm.step_size / part  # type: ignore[attr-defined]
        algorithm = replace(case.algorithm, step_size=step)  # type: ignore[type-var]
        plan = setting.plan(algorithm, case.rounds * part)
        judge = _Distances(plan, Limit.OPTIMUM, within=0.0)
        plan = replace(plan, observe_every=10 * part)
        Simulation(plan, judge, _ignore, 0, None, hazards=hazards).run(lambda: None)
        distances.append(float(np.mean(judge.seen[len(judge.seen) // 2 :])))
    ratio = distances[0] / max(distances[1], REPLAYED)
    hold(2 < ratio < 8, f"a quarter of the step leaves 1/{ratio:.2g} of the distance {setting}")


def _stepping(case: AsynchronousCase, setting: _Setting) -> AsynchronousAlgorithm[Any]:
    """The algorithm with the step size for its limit."""
    cls: type[AsynchronousAlgorithm[Any]] = type(case.algorithm)
    given = {
        f.name: getattr(case.algorithm, f.name)
        for f in fields(case.algorithm)  # type: ignore[arg-type]
        if f.init and f.name != "step_size"
    }
    if not needs_smoothness(cls, given):
        return case.algorithm
    problems = COSTS[setting.cost](setting.network.n).problems
    share = case.share or cls.safe_share(modes(setting.network.weights))
    return build(cls, given, max(problem.smoothness for problem in problems), share)


class _NearEnough(Judge):
    """Ends a run where every node is near enough to the limit."""

    def __init__(self, plan: AsynchronousPlan, limit: Limit, within: float) -> None:
        super().__init__(Objective(plan.problems), plan.nodes, None)
        self._starts = np.asarray(plan.starts)
        self._limit = limit
        self._within = within

    def receive(self, report: Report) -> list[Judgement]:
        judgements = super().receive(report)
        for judgement in judgements:
            X = np.stack([one.x for one in judgement.reports])
            if self.error(X) <= self._within:
                self.stopped_at = judgement.iteration
                return [replace(judgement, stop=True)]
        return judgements

    def error(self, X: Array) -> float:
        """Of the node that is furthest from the limit; infinite if not finite."""
        target = self._target(X)
        error = float(np.linalg.norm(X - target, axis=1).max())
        return error if np.isfinite(error) else np.inf

    def _target(self, X: Array) -> Array:
        starts = self._starts
        match self._limit:
            case Limit.MEAN:
                return np.asarray(starts.mean(axis=0))
            case Limit.ONE_VALUE:
                return np.asarray(X.mean(axis=0).clip(starts.min(axis=0), starts.max(axis=0)))
            case _:
                assert self._objective.minimiser is not None, "the costs of the laws have one"
                return self._objective.minimiser


class _Distances(_NearEnough):
    """Keeps how far nodes are from the limit, observation by observation."""

    def __init__(self, plan: AsynchronousPlan, limit: Limit, within: float) -> None:
        super().__init__(plan, limit, within)
        self.seen: list[float] = []

    def error(self, X: Array) -> float:
        self.seen.append(super().error(X))
        return self.seen[-1]


# ---- what is compared ----


def _trace(plan: AsynchronousPlan, seed: int) -> tuple[list[Event], list[bytes]]:
    events: list[Event] = []
    reports, _ = _run(plan, lambda event, _: events.append(event), delay_seed=seed)
    return events, [report.x.tobytes() for report in reports]


@dataclass
class _Post:
    """Messages under way, delivered in any order."""

    rng: np.random.Generator
    under_way: list[tuple[int, int, Message]] | None = None


def _go_on(members: Sequence[Member[Any]], post: _Post, steps: int) -> None:
    """Each step somebody wakes, or something arrives."""
    under_way = post.under_way = post.under_way or []
    for _ in range(steps):
        if under_way and post.rng.random() < 0.7:
            sender, node, message = under_way.pop(int(post.rng.integers(len(under_way))))
            reply = members[node].receive(sender, message)
            if reply is not None:
                under_way.append((node, sender, reply))
        else:
            node = int(post.rng.integers(len(members)))
            under_way += [(node, j, message) for j, message in members[node].wake()]


def _settles(members: Sequence[Member[Any]]) -> bool:
    """Delivers the newest messages until there is no news; whether all sums have arrived."""
    for _ in range(SETTLING):
        is_news = False
        for receiver in members:
            for j, end in receiver.receiving.items():
                newest = members[j].sending[receiver.place.node].again(members[j].wakes)
                is_news = is_news or newest.number > end.number
                receiver.receive(j, newest)
        if not is_news:
            break
    return all(
        np.array_equal(end.sums[name], total)
        for receiver in members
        for j, end in receiver.receiving.items()
        for name, total in members[j].sending[receiver.place.node].sums.items()
    )


def _total(masses: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.asarray(sum(mass[name] for mass in masses)) for name in masses[0]}


def _off(a: Array, b: Array) -> float:
    """The largest difference, relative where `b` is beyond one; infinite if not finite."""
    worst = float((np.abs(a - b) / np.maximum(1, np.abs(b))).max(initial=0.0))
    return worst if np.isfinite(worst) else np.inf


def _arrays(values: Iterable[Any]) -> list[Array]:
    found: list[Array] = []
    for value in values:
        if isinstance(value, tuple):
            found += _arrays(value)
        elif isinstance(value, np.ndarray):
            found.append(value)
    return found


def _bits(state: Any) -> list[bytes]:
    return [np.asarray(leaf).tobytes() for leaf in _leaves(state)]


def _leaves(value: Any) -> list[Any]:
    return [a for v in value for a in _leaves(v)] if isinstance(value, tuple) else [value]


__all__ = ["ASYNCHRONOUS_LAWS", "AsynchronousCase", "AsynchronousLaw", "AsynchronousRecursion"]
