"""One step for all nodes of a process: who takes it, that it has their bits, and how it ends.

`alone` is the crowd's way, each node in steps of its own. What both tell is compared: states,
counters, judgements, failures. On other networks it is a law: tests/algorithms/test_laws.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from p2pdo.algorithms import Algorithm, Consensus, GradientTracking
from p2pdo.algorithms.catalogue import ALGORITHMS, build
from p2pdo.algorithms.gradient_tracking import TrackingState
from p2pdo.effects import Here, Step
from p2pdo.errors import ConfigError, InvariantBroken, P2pdoError, WorkloadFailed
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import check_weights, default
from p2pdo.problems.base import Gradient, Problem
from p2pdo.problems.least_squares import LeastSquares
from p2pdo.problems.logistic import Logistic
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.drops import uniform
from p2pdo.protocol.judging import Judge, Judgement, Objective, Report
from p2pdo.protocol.monitoring import Monitor
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.settling import Settle
from p2pdo.simulation import crowd, inprocess, unison
from p2pdo.simulation.crowd import Crowd
from p2pdo.simulation.inprocess import run_in_process
from p2pdo.simulation.lockstep import advance_to, run_lockstep, steppers_of
from p2pdo.simulation.unison import LARGEST, Unison, may_step_in_unison
from p2pdo.types import Array

LIMIT = 60.0  # seconds after which a hang is called one
IN_UNISON = {name: cls for name, cls in ALGORITHMS.items() if vars(cls).get("unison") is True}


def plan_of(
    algorithm: Algorithm[Any] | None = None,
    problems: list[Any] | None = None,
    *,
    rounds: int = 20,
    observe_every: int = 6,
    tol: float | None = None,
) -> Plan:
    n, rng = 5, np.random.default_rng(0)
    made = [Quadratic(np.eye(3) * (1 + i % 3), rng.standard_normal(3)) for i in range(n)]
    graph = by_name("erdos-renyi:0.6", n, rng)
    starts = [rng.standard_normal(3) for _ in range(n)]
    algorithm = algorithm or GradientTracking(0.05)
    asked = (rounds, observe_every, tol)
    return Plan(algorithm, problems or made, graph, default(graph), starts, *asked, seed=1)


def judge_of(plan: Plan) -> Judge:
    return Judge(Objective(plan.problems), plan.nodes, plan.tol)


Way = Callable[[Plan, Judge, Callable[[Judgement], None]], Any]


def alone(plan: Plan, judge: Judge, tell: Callable[[Judgement], None]) -> Any:
    async def run() -> list[Report]:
        try:
            return await Crowd(plan, judge, tell).run()
        except BaseExceptionGroup as errors:
            raise inprocess.first_error(errors) from None

    return run()


def played(way: Way, plan: Plan) -> tuple[Any, ...]:
    """All that is told of a run: its reports, its judgements, its failure."""
    told: list[Judgement] = []

    async def main() -> Any:
        async with asyncio.timeout(LIMIT):
            return await way(plan, judge_of(plan), told.append)

    try:
        reports, failure = asyncio.run(main()), None
    except P2pdoError as error:
        reports, failure = [], (type(error), str(error), error.hint, error.node, error.iteration)
    seen = [(r.node, r.iteration, r.x.tobytes(), r.bytes_sent, r.messages_sent) for r in reports]
    return seen, [r.calls for r in reports], told, failure


@dataclass
class Seen:
    """What `run_in_process` has taken in unison."""

    made: int = 0
    iterations: int = 0


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Counts, with limits that no slow machine meets."""
    found = Seen()

    class Counted(Unison):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            found.made += 1

        def advance(self) -> None:
            super().advance()
            found.iterations += 1

    monkeypatch.setattr(inprocess, "Unison", Counted)
    for module, limit in ((inprocess, "BLOCKED"), (crowd, "BLOCKED"), (crowd, "SLICE")):
        monkeypatch.setattr(module, limit, LIMIT)
    return found


# ---- who takes it ----


def test_every_method_of_the_library_that_only_mixes_and_stacks_says_so() -> None:
    could = {
        name
        for name, cls in ALGORITHMS.items()
        if cls.batched and cls.mixes and cls.requires.oracle in (Problem, Gradient)
    }
    assert set(IN_UNISON) == could
    assert len(could) > 20


class Derived(GradientTracking):
    """Does not say it again."""


@pytest.mark.parametrize(
    ("plan", "may"),
    [
        (plan_of(), True),
        (plan_of(Derived(0.05)), False),
        (replace(plan_of(), codec="fp16"), False),
        (replace(plan_of(), settle=Settle(1e-3, 2)), False),
        (replace(plan_of(), drops=uniform(0.1, 1)), False),
        (replace(plan_of(), starts=[np.zeros(LARGEST + 1)] * 5), False),
        (replace(plan_of(), weights=default(by_name("ring", 5, np.random.default_rng(0)))), True),
    ],
)
def test_what_is_each_nodes_own_affair_is_left_to_it(plan: Plan, may: bool) -> None:
    assert may_step_in_unison(plan) is may


# ---- the bits ----


def costs_of(rng: np.random.Generator, n: int, d: int, dtype: str) -> list[Any]:
    """Of several kinds, side by side."""
    costs: list[Any] = []
    for i in range(n):
        A, b = rng.standard_normal((d + 3, d)).astype(dtype), rng.standard_normal(d + 3)
        match i % 3:
            case 0:
                costs.append(LeastSquares(A, b.astype(dtype)))
            case 1:
                costs.append(Logistic(A, np.sign(b).astype(dtype), len(A), l2=0.1))
            case _:
                costs.append(Quadratic((A.T @ A / d).astype(dtype), b[:d].astype(dtype)))
    return costs


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", IN_UNISON)
def test_on_random_graphs_all_states_and_counters_are_those_of_each_node(
    name: str, seed: int
) -> None:
    cls, rng = IN_UNISON[name], np.random.default_rng([seed, 17])
    n, d = int(rng.integers(2, 14)), int(rng.integers(1, 40))
    dtype = ("float64", "float32")[seed % 2]
    graph = by_name(("erdos-renyi:0.4", "star", "ring", "complete")[seed], n, rng)
    needs = cls.requires
    check_weights(default(graph), graph, needs.weights, symmetric=needs.symmetric)
    starts = [rng.standard_normal(d).astype(dtype) for _ in range(n)]
    algorithm = build(cls, {}, smoothness=20.0)
    plan = Plan(algorithm, costs_of(rng, n, d, dtype), graph, default(graph), starts, 9, seed=seed)
    apart, together = steppers_of(plan), steppers_of(plan)
    one_step = Unison(plan, together)
    for k in range(1, plan.rounds + 1):
        one_step.advance()
        one_step.observe()
        advance_to(apart, k)
        for one, other in zip(together, apart, strict=True):
            for array, expected in zip(one.state, other.state, strict=True):
                assert array.dtype == expected.dtype
                assert array.tobytes() == expected.tobytes()
            assert (one.messages_sent, one.bytes_sent) == (other.messages_sent, other.bytes_sent)
            assert one.calls == other.calls


@pytest.mark.parametrize("observe_every", [1, 6, 20])
def test_a_run_tells_what_nodes_alone_tell(seen: Seen, observe_every: int) -> None:
    plan = plan_of(observe_every=observe_every)
    assert played(run_in_process, plan) == played(alone, plan)
    assert seen.iterations == plan.rounds


def test_a_tolerance_ends_it_at_the_same_iteration_with_the_same_bits(seen: Seen) -> None:
    plan = plan_of(rounds=4000, observe_every=7, tol=1e-6)
    found = played(run_in_process, plan)
    assert found == played(alone, plan)
    _, _, told, _ = found
    assert told[-1].stop
    assert seen.iterations == told[-1].iteration < plan.rounds


def test_no_rounds_are_no_step(seen: Seen) -> None:
    plan = plan_of(rounds=0)
    assert played(run_in_process, plan) == played(alone, plan)
    assert seen.iterations == 0


# ---- how it ends ----


@dataclass
class Fails:
    """½‖x‖² until its gradient has been asked for so often; then what is to happen."""

    after: int
    then: Callable[[Array], Any]
    asked: int = 0
    dimension: ClassVar[int] = 3

    def value(self, x: Array) -> float:
        return 0.5 * float(x @ x)

    def gradient(self, x: Array) -> Any:
        self.asked += 1
        return self.then(x) if self.asked == self.after else 1.0 * x


def boom(_x: Array) -> Any:
    raise ValueError("boom")


def leave(_x: Array) -> Any:
    raise SystemExit(3)


def refuse(_x: Array) -> Any:
    raise ConfigError("not here", hint="there")


def with_one_that(then: Callable[[Array], Any], after: int = 9) -> Plan:
    """At node 3; the check of the problem and the start take the first two."""
    problems: list[Any] = [Fails(10**9, boom) for _ in range(5)]
    problems[3] = Fails(after, then)
    return plan_of(problems=problems)


@pytest.mark.parametrize("then", [boom, leave, refuse])
def test_a_cost_that_raises_once_is_told_with_its_node_and_iteration(seen: Seen, then: Any) -> None:
    *_, told, failure = played(run_in_process, with_one_that(then))
    *_, expected = played(alone, with_one_that(then))
    assert failure == expected
    assert failure[3:] == ("node-3", 6)
    assert [judgement.iteration for judgement in told] == [0, 6]
    assert seen.iterations == 6


FAR = [np.full(3, 1.5 + 0.1 * i) for i in range(5)]


@dataclass(frozen=True)
class Wrong:
    """Its gradient goes wrong where x is near enough to zero, at every call."""

    then: Callable[[Array], Any]
    dimension: ClassVar[int] = 3

    def value(self, x: Array) -> float:
        return 0.5 * float(x @ x)

    def gradient(self, x: Array) -> Any:
        return self.then(x) if x @ x < 4 else 1.0 * x


@pytest.mark.parametrize(
    "then",
    [
        lambda x: np.full_like(x, np.nan),
        lambda x: np.full_like(x, np.inf),
        lambda x: np.zeros(7),
        lambda x: "zero",
        lambda x: x.astype(np.complex128),
    ],
    ids=["nan", "inf", "shape", "type", "dtype"],
)
def test_what_goes_wrong_in_a_step_is_told_as_of_the_nodes_own_step(seen: Seen, then: Any) -> None:
    problems: list[Any] = [Fails(10**9, boom) for _ in range(5)]
    problems[2] = Wrong(then)
    plan = replace(plan_of(problems=problems), starts=FAR)
    found = played(run_in_process, plan)
    assert found[3] == played(alone, plan)[3]
    assert found[3][3] is not None
    assert seen.iterations > 0


def test_a_step_size_that_is_too_large_is_told_as_of_a_node(seen: Seen) -> None:
    plan = plan_of(GradientTracking(1e3), rounds=10**4, observe_every=10**4)
    found, expected = played(run_in_process, plan)[3], played(alone, plan)[3]
    assert found == expected
    assert "is not finite" in found[1]
    assert found[4] == seen.iterations > 10


@pytest.mark.parametrize("observe_every", [1, 6, 20])
def test_what_only_nodes_alone_can_do_they_go_on_with(seen: Seen, observe_every: int) -> None:
    """A number in a gradient's place spreads over all entries."""
    problems: list[Any] = [Fails(10**9, boom) for _ in range(5)]
    problems[2] = Wrong(lambda _x: np.float64(0.5))
    plan = replace(plan_of(problems=problems, observe_every=observe_every), starts=FAR)
    found = played(run_in_process, plan)
    assert found == played(alone, plan)
    assert found[3] is None
    assert 0 < seen.iterations < plan.rounds


@pytest.mark.parametrize(("limit", "taken"), [("SLICE", 1), ("BLOCKED", 0)])
def test_where_steps_are_long_nodes_go_on_alone(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, limit: str, taken: int
) -> None:
    """After the first of two whole ones, and in the middle of one of which gradients are long."""
    plan = plan_of()
    expected = played(alone, plan)
    if limit == "BLOCKED":
        monkeypatch.setattr(crowd, limit, -1.0)
    monkeypatch.setattr(unison, "_is_over", lambda least, *_began: least == getattr(crowd, limit))
    assert played(run_in_process, plan) == expected
    assert (seen.made, seen.iterations) == (1, taken)


@pytest.mark.parametrize(
    ("took", "computed", "is_over"),
    [(0.9, 0.9, False), (2, 1.1, True), (2, 0.1, False), (60, 0, True)],
)
def test_what_another_program_took_is_not_a_long_step_but_a_wait_is(
    monkeypatch: pytest.MonkeyPatch, took: float, computed: float, is_over: bool
) -> None:
    clocks = SimpleNamespace(perf_counter=lambda: 10 + took, thread_time=lambda: 5 + computed)
    monkeypatch.setattr(unison, "time", clocks)
    assert unison._is_over(1.0, 10, 5) is is_over


def test_a_method_of_which_states_do_not_stack_is_each_nodes(seen: Seen) -> None:
    @dataclass(frozen=True)
    class Listed(GradientTracking):
        unison: ClassVar[bool] = True

        def init(self, x: Array, problem: Gradient, here: Here) -> TrackingState:
            return super().init(x, problem, here)._replace(g=0.0)  # type: ignore[arg-type]

    plan = plan_of(Listed(0.05))
    assert may_step_in_unison(plan)
    assert played(run_in_process, plan) == played(alone, plan)
    assert seen.made == 0


def test_an_invariant_that_breaks_is_told_at_its_iteration(seen: Seen) -> None:
    @dataclass(frozen=True)
    class Leaks(GradientTracking):
        unison: ClassVar[bool] = True

        def step(self, s: TrackingState, problem: Gradient, here: Here) -> Step[TrackingState]:
            following = yield from super().step(s, problem, here)
            return following if here.iteration < 7 else following._replace(y=following.y + 1)

    plan = replace(plan_of(Leaks(0.05)), monitor_every=2)
    found, expected = played(run_in_process, plan)[3], played(alone, plan)[3]
    assert found == expected
    assert (found[0], found[3], found[4]) == (InvariantBroken, None, 8)
    assert seen.iterations == 7


def test_the_monitor_sees_each_nodes_state(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, int, bytes]] = []
    monkeypatch.setattr(
        Monitor, "take", lambda _self, node, k, state: shown.append((node, k, state.y.tobytes()))
    )
    plan = replace(plan_of(), monitor_every=5)
    played(run_in_process, plan)
    in_unison, shown[:] = sorted(shown), []
    run_lockstep(plan, judge_of(plan), lambda _judgement: None)
    assert in_unison == sorted(entry for entry in shown if entry[1] % 5 == 0)
    assert seen.iterations == plan.rounds


@pytest.mark.asyncio
async def test_the_loop_goes_on_beside_it_and_a_cancelled_run_steps_no_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached: list[int] = []
    many = asyncio.Event()

    @dataclass(frozen=True)
    class Counts(Consensus):
        unison: ClassVar[bool] = True

        def step(self, s: Any, problem: Any, here: Here) -> Step[Any]:
            reached.append(here.iteration)
            if len(reached) == 100:
                many.set()
            assert here.node == -1, "of all nodes"
            return super().step(s, problem, here)

    monkeypatch.setattr(inprocess, "BLOCKED", LIMIT)
    plan = plan_of(Counts(), rounds=10**9, observe_every=10**9)
    async with asyncio.timeout(LIMIT):
        running = asyncio.create_task(run_in_process(plan, judge_of(plan), lambda _: None))
        await many.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    seen = len(reached)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(reached) == seen


def test_what_is_shown_of_a_run_ends_it_with_its_own_error(seen: Seen) -> None:
    def show(judgement: Judgement) -> None:
        if judgement.iteration == 12:
            raise WorkloadFailed("observe() raised", iteration=12)

    plan = plan_of()
    with pytest.raises(WorkloadFailed, match=r"observe\(\) raised"):
        asyncio.run(run_in_process(plan, judge_of(plan), show))
    assert seen.iterations == 12
