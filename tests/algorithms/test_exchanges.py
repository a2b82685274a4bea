"""The other two effects, and steps that break the rules, on every executor that has messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import numpy as np
import pytest

from p2pdo.algorithms import Algorithm
from p2pdo.algorithms.base import Requires
from p2pdo.effects import By, Here, Step, exchange, exchange_each, mix
from p2pdo.errors import LocalProtocolError, P2pdoError, RemoteProtocolError, WorkloadFailed
from p2pdo.graphs.graph import from_edges
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default, from_matrix
from p2pdo.protocol.judging import Judge, Objective, Report
from p2pdo.protocol.plan import Plan
from p2pdo.simulation.inprocess import run_in_process, run_simulated
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.simulation.network import Weather
from p2pdo.types import Array

LIMIT = 20.0  # seconds after which a hang is called one


class Nothing:
    dimension = 2


class State(NamedTuple):
    x: Array


class _Test(Algorithm[State]):
    requires = Requires()

    def init(self, x: Array, problem: Any, here: Here) -> State:
        return State(x)


def dense(plan: Plan, judge: Judge) -> list[Report]:
    return run_lockstep(plan, judge, lambda _: None)


def simulated(plan: Plan, judge: Judge) -> list[Report]:
    weather = Weather(duplicate=0.2, cut=0.01)
    return run_simulated(plan, judge, lambda _: None, delay_seed=5, weather=weather)


def inprocess(plan: Plan, judge: Judge) -> list[Report]:
    async def main() -> list[Report]:
        async with asyncio.timeout(LIMIT):
            return await run_in_process(plan, judge, lambda _: None)

    return asyncio.run(main())


on_every_executor = pytest.mark.parametrize("executor", [dense, simulated, inprocess])
Run = Callable[[Plan, Judge], list[Report]]


def run(
    executor: Run,
    algorithm: Algorithm[Any],
    topology: str = "ring",
    *,
    n: int = 6,
    rounds: int = 8,
    observe_every: int = 3,
) -> list[Report]:
    graph = by_name(topology, n, np.random.default_rng(0))
    starts = [np.array([float((5 * i) % n), -float(i)]) for i in range(n)]
    problems = [Nothing() for _ in range(n)]
    plan = Plan(algorithm, problems, graph, default(graph), starts, rounds, observe_every)
    return executor(plan, Judge(Objective(problems), n, None))


class MaxConsensus(_Test):
    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        theirs = yield from exchange(s.x)
        assert list(theirs) == list(here.in_neighbors)
        return State(np.maximum.reduce([s.x, *theirs.values()]))


class Flow(NamedTuple):
    x: Array
    sent: dict[int, Array]


class EdgeFlows(Algorithm[Flow]):
    """Each link's two ends move a share of their difference: the sum is kept, the mean reached.

    Each neighbour is told something of its own: the value, and what it is offered.
    """

    requires = Requires()

    def init(self, x: Array, problem: Any, here: Here) -> Flow:
        return Flow(x, {})

    def step(self, s: Flow, problem: Any, here: Here) -> Step[Flow]:
        theirs = yield from exchange_each({j: {"x": s.x, "to": j} for j in here.out_neighbors})
        assert all(message["to"] == here.node for message in theirs.values())
        flows = {j: (message["x"] - s.x) / 4 for j, message in theirs.items()}
        back = yield from exchange_each(flows)
        for j, flow in flows.items():
            assert np.array_equal(back[j], -flow)  # both ends computed one flow
        return Flow(s.x + sum(flows.values()), flows)


class Nested(_Test):
    """Tuples, dicts, scalars and empty arrays, mixed and exchanged."""

    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        tree = {"a": (s.x, np.float32(2.5)), "b": np.zeros((0, 3)), "c": True}
        theirs = yield from exchange(tree)
        for value in theirs.values():
            assert type(value["a"][1]) is float
            assert value["b"].shape == (0, 3)
            assert value["c"] is True
        mixed, weight = yield from mix({"x": s.x, "n": (np.arange(2),)}, 1.0)
        assert weight == pytest.approx(1.0)
        return State(mixed["x"] + 0 * mixed["n"][0])


@on_every_executor
@pytest.mark.parametrize("topology", ["ring", "directed-ring", "star"])
def test_the_maximum_spreads_by_exchange(executor: Run, topology: str) -> None:
    for report in run(executor, MaxConsensus(), topology):
        assert report.x.tolist() == [5.0, 0.0]


@on_every_executor
def test_each_neighbour_gets_its_own_message(executor: Run) -> None:
    reports = run(executor, EdgeFlows(), rounds=200)
    for report in reports:
        np.testing.assert_allclose(report.x, [2.5, -2.5], atol=1e-12)
    # Two exchanges with two neighbours; the first carries an array of 16 bytes and a number.
    assert reports[0].messages_sent == 200 * 2 * 2
    assert reports[0].bytes_sent == 200 * 2 * (16 + 8 + 16)


@on_every_executor
def test_nested_values_and_scalars_arrive_as_they_would_over_a_wire(executor: Run) -> None:
    run(executor, Nested())


class PulledAndPushed(_Test):
    """A value by each matrix in one exchange; on the lopsided graph the two differ."""

    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        pulled, pushed = yield from mix(s.x, {"a": (s.x, 1.0)}, by=(By.PULL, By.PUSH))
        return State(np.array([pulled[0], pushed["a"][0][1] + 0 * pushed["a"][1]]))


def test_a_value_is_mixed_by_the_matrix_that_is_named() -> None:
    graph = from_edges(3, [(0, 1), (1, 2), (2, 0), (0, 2)], directed=True)
    starts = [np.array([1.0, 1.0]), np.array([2.0, 4.0]), np.array([4.0, 16.0])]
    plan = Plan(PulledAndPushed(), [Nothing()] * 3, graph, default(graph), starts, 4, 4)
    A = default(graph).to_dense()
    B = np.array([[1 / 3, 0, 1 / 2], [1 / 3, 1 / 2, 0], [1 / 3, 1 / 2, 1 / 2]])
    X = np.stack(starts)
    for _ in range(4):
        X = np.stack([A @ X[:, 0], B @ X[:, 1]], axis=1)
    for executor in (dense, simulated, inprocess):
        reports = executor(plan, Judge(Objective(plan.problems), 3, None))
        np.testing.assert_allclose([r.x for r in reports], X, rtol=1e-14)
        assert reports[0].messages_sent == 4 * 2, "one exchange for both"


def test_another_number_of_matrices_than_of_values_is_a_mistake() -> None:
    with pytest.raises(LocalProtocolError, match="mix has 2 values and 1 weights in by"):
        next(mix(1.0, 2.0, by=(By.PUSH,)))


# ---- nodes that disagree on the number of exchanges: an error, never a hang ----


class DataDependent(_Test):
    """The nodes `where` make another number of exchanges in iteration `when`."""

    def __init__(self, where: Collection[int], when: int, times: int, others: int = 2) -> None:
        self.where, self.when, self.times, self.others = where, when, times, others

    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        odd = here.node in self.where and here.iteration == self.when
        x = s.x
        for _ in range(self.times if odd else self.others):
            x = yield from mix(x)
        return State(x)


@on_every_executor
@pytest.mark.parametrize("topology", ["ring", "directed-ring", "star"])
@pytest.mark.parametrize("times", [0, 1, 3])
@pytest.mark.parametrize("when", [0, 4, 7], ids=["first", "middle", "last"])
@pytest.mark.parametrize("where", [0, 3])
def test_a_data_dependent_number_of_exchanges_names_the_iteration(
    executor: Run, topology: str, times: int, when: int, where: int
) -> None:
    with pytest.raises(P2pdoError, match=f"disagree on the exchanges of iteration {when}"):
        run(executor, DataDependent({where}, when, times), topology)


@on_every_executor
def test_another_effect_at_the_same_place_is_a_disagreement_too(executor: Run) -> None:
    class Differs(_Test):
        def step(self, s: State, problem: Any, here: Here) -> Step[State]:
            if here.node == 1 and here.iteration == 2:
                yield from exchange((s.x,))
                return s
            x = yield from mix(s.x)
            return State(x)

    with pytest.raises(RemoteProtocolError, match="disagree on the exchanges of iteration 2"):
        run(executor, Differs())


@pytest.mark.parametrize("seed", range(60))
def test_a_disagreement_on_any_directed_graph_in_any_weather_is_never_a_hang(seed: int) -> None:
    # Who waits in vain may be far from where the numbers differ: the word has to get to it.
    rng = np.random.default_rng(seed)
    n, when = int(rng.integers(2, 8)), int(rng.choice([0, 4, 7, 7]))
    arcs = {(i, (i + 1) % n) for i in range(n)}
    arcs |= {(a, b) for a, b in rng.integers(0, n, (4, 2)).tolist() if a != b}
    graph = from_edges(n, sorted(arcs), directed=True)
    W = np.eye(n)
    for i in range(n):
        heard = [*graph.in_neighbors(i), i]
        W[i] = 0
        W[i, heard] = 1 / len(heard)
    odd = set(rng.permutation(n)[: int(rng.integers(1, n))].tolist())
    algorithm = DataDependent(odd, when, int(rng.choice([0, 1, 3])))
    problems = [Nothing()] * n
    starts = [np.full(2, float(i)) for i in range(n)]
    plan = Plan(algorithm, problems, graph, from_matrix(W), starts, 8, 3)
    weather = Weather(delay=0.05, duplicate=0.1, cut=0.02)
    with pytest.raises(P2pdoError, match=f"disagree on the exchanges of iteration {when}"):
        run_simulated(
            plan, Judge(Objective(problems), n, None), ignore, delay_seed=seed, weather=weather
        )


def ignore(_judgement: object) -> None:
    pass


# ---- authors' mistakes come with node and iteration ----


class Mistake(_Test):
    def __init__(self, make: Callable[[State, Here], Any]) -> None:
        self.make = make

    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        if here.node == 2 and here.iteration == 1:
            yield from self.make(s, here)
        else:
            yield from exchange_each(dict.fromkeys(here.out_neighbors, s.x))
        return s


def to_a_stranger(s: State, here: Here) -> Any:
    return exchange_each({0: s.x})


def to_too_few(s: State, here: Here) -> Any:
    return exchange_each({here.out_neighbors[0]: s.x})


def changes_what_came(s: State, here: Here) -> Any:
    theirs = yield from exchange_each(dict.fromkeys(here.out_neighbors, s.x))
    theirs[here.in_neighbors[0]][0] = 7


def sends_nan(s: State, here: Here) -> Any:
    return exchange_each(dict.fromkeys(here.out_neighbors, s.x * np.nan))


def sends_text(s: State, here: Here) -> Any:
    return exchange_each(dict.fromkeys(here.out_neighbors, "hello"))


def sends_objects(s: State, here: Here) -> Any:
    return exchange_each({j: np.array([None]) for j in here.out_neighbors})


def sends_too_large_a_number(s: State, here: Here) -> Any:
    return exchange_each(dict.fromkeys(here.out_neighbors, 1 << 63))


def sends_numbered_keys(s: State, here: Here) -> Any:
    return exchange_each({j: {1: s.x} for j in here.out_neighbors})


def sends_quadruple_precision(s: State, here: Here) -> Any:
    return exchange_each({j: s.x.astype(np.longdouble) for j in here.out_neighbors})


def yields_no_effect(s: State, here: Here) -> Any:
    yield "everything"


@on_every_executor
@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (to_a_stranger, LocalProtocolError, r"exchange_each names \[0\]"),
        (to_too_few, LocalProtocolError, r"the out-neighbours are \[1, 3\]"),
        (changes_what_came, WorkloadFailed, "read-only"),
        (sends_nan, WorkloadFailed, "not finite"),
        (sends_text, LocalProtocolError, "str hello cannot be exchanged"),
        (sends_objects, LocalProtocolError, "dtype object cannot be exchanged"),
        (sends_too_large_a_number, LocalProtocolError, "int 92233.* cannot be exchanged"),
        (sends_numbered_keys, LocalProtocolError, "dict .* cannot be exchanged"),
        (sends_quadruple_precision, LocalProtocolError, "dtype .* cannot be exchanged"),
        (yields_no_effect, LocalProtocolError, "'everything', which is no effect"),
    ],
)
def test_a_mistake_is_told_with_node_and_iteration(
    executor: Run, make: Any, error: type[P2pdoError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        run(executor, Mistake(make))
    assert (caught.value.node, caught.value.iteration) == ("node-2", 1)
    assert caught.value.hint
