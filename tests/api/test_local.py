"""`p2pdo.run` and `p2pdo.local`, on the executors that start no process."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import Algorithm, Consensus, GradientTracking
from p2pdo.algorithms.base import Requires
from p2pdo.api.runs import Result, Run
from p2pdo.effects import Here, Step, mix
from p2pdo.errors import (
    ConfigError,
    LocalProtocolError,
    P2pdoError,
    WorkloadFailed,
    WorkloadStopped,
)
from p2pdo.graphs.topologies import ring
from p2pdo.problems.quadratic import Quadratic
from p2pdo.reporting import pictures
from p2pdo.reporting.run_folder import RunFolder
from p2pdo.types import Array

HERE = ("dense", "stacked", "simulated", "inprocess")
ENDLESS = 10**8
LIMIT = 30.0
on_every_executor = pytest.mark.parametrize("on", HERE)


def problems(n: int = 4) -> list[Quadratic]:
    rng = np.random.default_rng(0)
    return [Quadratic(np.eye(3) * (1 + i), rng.standard_normal(3)) for i in range(n)]


def the_usual(**changes: Any) -> dict[str, Any]:
    return {"parameters": {"step_size": 0.05}, "rounds": 60, "observe_every": 20, **changes}


@dataclass(frozen=True)
class Fails(Algorithm[Any]):
    requires = Requires()

    def init(self, x: Array, problem: Any, here: Here) -> Any:
        return GradientTracking(0.05).init(x, problem, here)

    def step(self, s: Any, problem: Any, here: Here) -> Step[Any]:
        yield from mix(s.x)
        if here.iteration == 30 and here.node == 2:
            raise ValueError("boom")
        return s


# ---- run() ----


@on_every_executor
def test_run_gives_states_metrics_and_a_summary(on: str) -> None:
    result = p2pdo.run(problems(), on=on, **the_usual())
    assert isinstance(result, Result)
    assert [metric.iteration for metric in result.metrics] == [0, 20, 40, 60]
    assert len(result.states) == 4
    assert result.x.shape == (3,)
    summary = result.summary
    assert (summary.status, summary.iterations, summary.nodes) == ("done", 60, 4)
    assert (summary.executor, summary.topology) == (on, "ring")
    assert summary.gap == result.metrics[-1].gap


def test_the_bits_are_those_of_dense_on_every_executor_but_stacked() -> None:
    hashes = {
        on: p2pdo.run(problems(), on=on, **the_usual(tol=1e-3, rounds=2000)).summary.state_sha256
        for on in HERE
        if on != "stacked"
    }
    assert len(set(hashes.values())) == 1, hashes


def test_run_takes_an_algorithm_object_and_a_graph_and_keeps_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = p2pdo.run(
        problems(5), algorithm=GradientTracking(0.05), topology=nx.star_graph(4), out=out, rounds=10
    )
    assert result.summary.topology == "custom"
    assert json.loads((out / "summary.json").read_text())["iterations"] == 10


RUN_FOLDER = {"run.toml", "metrics.jsonl", "states", "counts.json", "summary.json"}
PICTURES = {"topology.png", "convergence.png"}


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["ring", ring(4), nx.star_graph(3)])
def test_a_folder_that_is_kept_is_the_one_of_the_command_line(
    topology: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[threading.Thread] = set()
    draw = pictures.draw

    def watched(*arguments: Any) -> Any:
        threads.add(threading.current_thread())
        return draw(*arguments)

    monkeypatch.setattr(pictures, "draw", watched)
    result = p2pdo.run(problems(), topology=topology, out=tmp_path / "run", **the_usual())
    assert {path.name for path in (tmp_path / "run").iterdir()} == RUN_FOLDER | PICTURES
    assert {path.name for path in result.pictures.files} == PICTURES
    assert threads.isdisjoint({threading.main_thread()}), "the loop went on meanwhile"


def test_nothing_is_drawn_for_a_folder_that_nobody_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "draw", None)
    assert p2pdo.run(problems(), **the_usual()).pictures.files == []


def test_without_matplotlib_the_folder_says_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = p2pdo.run(problems(), out=tmp_path / "run", **the_usual())
    assert result.pictures.files == []
    (event,) = RunFolder(tmp_path / "run").read_events()
    assert event["event"] == "not-drawn"
    assert event["message"] == result.pictures.note
    assert "pip install 'p2pdo[plots]'" in str(event["message"])


@pytest.mark.asyncio
async def test_who_stops_a_run_while_it_is_drawn_is_late(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: Any) -> pictures.Drawn:
        begun.set()
        assert go_on.wait(LIMIT)
        return pictures.Drawn([tmp_path / "one.png"])

    monkeypatch.setattr(pictures, "draw", slow)
    async with asyncio.timeout(LIMIT), network("inprocess") as net:
        run = await net.submit("gradient-tracking", problems(), out=tmp_path / "run", **the_usual())
        await asyncio.to_thread(begun.wait, LIMIT)
        stopping = asyncio.create_task(run.stop())
        await asyncio.sleep(0)
        go_on.set()
        await stopping
        result = await run.result()
    assert (result.summary.status, len(result.pictures.files)) == ("done", 1)


@pytest.mark.parametrize("topology", [ring(4), nx.cycle_graph(4), nx.cycle_graph(4, nx.DiGraph)])
def test_weights_by_name_hold_for_graphs_that_are_objects_too(topology: Any) -> None:
    # A ring has degrees of two: uniform and metropolis weights are the same there, so a star.
    star = nx.star_graph(3)
    with pytest.raises(ConfigError, match="column"):
        p2pdo.run(problems(), topology=star, weights="uniform", rounds=1)
    assert p2pdo.run(problems(), topology=star, weights="metropolis", rounds=1).states
    with pytest.raises(ConfigError, match="unknown weights 'nonsense'"):
        p2pdo.run(problems(), topology=topology, weights="nonsense", rounds=1)


def test_run_inside_a_loop_says_what_to_write_instead() -> None:
    async def main() -> None:
        p2pdo.run(problems())

    with pytest.raises(LocalProtocolError, match="where an event loop runs") as caught:
        asyncio.run(main())
    assert "async with p2pdo.local" in str(caught.value.hint)


@pytest.mark.parametrize("on", ["dense", "simulated", "inprocess"])
def test_a_failure_of_the_run_is_raised_with_node_iteration_and_workload(on: str) -> None:
    with pytest.raises(WorkloadFailed, match="ValueError: boom") as caught:
        p2pdo.run(problems(), algorithm=Fails(), on=on, rounds=100)
    error = caught.value
    assert (error.node, error.iteration) == ("node-2", 30)
    assert error.workload


# ---- requests that cannot be ----


def good(**changes: Any) -> dict[str, Any]:
    return {"problem": problems(), "rounds": 5, **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"algorithm": "gradient-trakcing"}, "unknown algorithm 'gradient-trakcing'"),
        ({"problem": "breast-cancre"}, "unknown problem"),
        ({"topology": "rign"}, "unknown topology"),
        ({"weights": "heavy"}, "unknown weights"),
        ({"on": "moon"}, "unknown executor 'moon'"),
        ({"nodes": 5}, "4 problems for 5 nodes"),
        ({"problem": [], "nodes": 0}, "nodes must be one or more"),
        ({"rounds": -1}, "rounds must be zero or more"),
        ({"observe_every": 0}, "observe_every must be one or more"),
        ({"seed": -1}, "seed must be zero or more"),
        ({"tol": 0.0}, "tolerance must be positive"),
        ({"tol": float("nan")}, "tolerance must be positive"),
        ({"parameters": {"stepsize": 1.0}}, "has no parameter 'stepsize'"),
        ({"parameters": {"step_size": "big"}}, "must be a number"),
        ({"parameters": {"step_size": -1.0}}, "must be a positive number"),
        ({"algorithm": Consensus(), "parameters": {"a": 1}}, "beside an algorithm object"),
        ({"problem": [object()] * 4}, "tells no dimension"),
        ({"problem": [*problems(3), Quadratic(np.eye(2), np.ones(2))]}, "dimension 3, node 3's 2"),
        ({"topology": ring(5)}, "the graph has 5 nodes, the problem 4"),
        ({"start": np.zeros(2)}, r"expected finite numbers of shape \(3,\)"),
        ({"start": np.full(3, np.nan)}, "expected finite numbers"),
        ({"start": "nowhere.npy"}, "cannot read the start"),
    ],
)
def test_what_cannot_run_is_refused_with_a_remedy(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        p2pdo.run(**good(**changes))
    assert caught.value.hint


class NoDataclass(Algorithm[Any]):
    requires = Requires()

    def init(self, x: Array, problem: Any, here: Here) -> Any:
        raise NotImplementedError

    def step(self, s: Any, problem: Any, here: Here) -> Step[Any]:
        raise NotImplementedError


def test_an_algorithm_whose_parameters_have_no_names_is_refused() -> None:
    with pytest.raises(ConfigError, match="NoDataclass is no dataclass"):
        p2pdo.run(problems(), algorithm=NoDataclass(), rounds=1)


class Plain:
    dimension = 2

    def value(self, x: Array) -> float:
        return float(x @ x)

    def gradient(self, x: Array) -> Array:
        return 2 * x


def test_what_a_users_problem_cannot_tell_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match="needs a step size"):
        p2pdo.run([Plain()] * 3, rounds=5)
    with pytest.raises(ConfigError, match="a tolerance needs a problem whose optimum is known"):
        p2pdo.run([Plain()] * 3, rounds=5, tol=1e-3, parameters={"step_size": 0.1})
    result = p2pdo.run([Plain()] * 3, rounds=5, parameters={"step_size": 0.1})
    assert result.summary.gap is None


def test_a_class_that_cannot_cross_to_processes_is_refused_before_there_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Inside(GradientTracking):
        """Nobody else can import it."""

    monkeypatch.chdir(tmp_path)
    mine = [Plain()] * 3
    for problem, algorithm, says in (
        (mine, GradientTracking(0.05), "Plain cannot cross to another process"),
        (problems(3), Inside(0.05), "Inside exists only inside a function"),
    ):
        with pytest.raises(ConfigError, match=says) as caught:
            p2pdo.run(problem, algorithm=algorithm, on="processes", rounds=1, out="here")
        assert caught.value.hint
        assert not list(tmp_path.iterdir())


def test_a_start_may_be_one_for_all_or_one_a_node(tmp_path: Path) -> None:
    each = np.arange(12.0).reshape(4, 3)
    np.save(tmp_path / "start.npy", each)
    for start in (each, str(tmp_path / "start.npy")):
        result = p2pdo.run(problems(), algorithm="consensus", start=start, rounds=0)
        assert np.array_equal(np.stack(result.states), each)
    result = p2pdo.run(problems(), algorithm="consensus", start=np.ones(3), rounds=3)
    np.testing.assert_allclose(result.x, np.ones(3))


# ---- local() ----


def network(on: str) -> p2pdo.LocalNetwork:
    return p2pdo.local(4, on=on)


async def iterations(run: Run, every: int = 1) -> list[int]:
    return [metric.iteration async for metric in run.metrics(every)]


@pytest.mark.asyncio
@on_every_executor
async def test_metrics_come_while_it_runs_and_again_afterwards(on: str) -> None:
    async with asyncio.timeout(LIMIT), network(on) as net:
        run = await net.submit("gradient-tracking", problems(), **the_usual())
        assert await iterations(run) == [0, 20, 40, 60]
        assert await iterations(run, every=40) == [0, 40]
        result = await run.result()
        assert [metric.iteration for metric in result.metrics] == [0, 20, 40, 60]


@pytest.mark.asyncio
@on_every_executor
async def test_two_runs_at_once_do_not_disturb_each_other(on: str) -> None:
    alone = await asyncio.to_thread(p2pdo.run, problems(), on=on, **the_usual())
    async with asyncio.timeout(LIMIT), network(on) as net:
        runs = [await net.submit("gradient-tracking", problems(), **the_usual()) for _ in range(3)]
        results = await asyncio.gather(*[run.result() for run in runs])
        assert len({run.workload_id for run in runs}) == 3
    assert {r.summary.state_sha256 for r in results} == {alone.summary.state_sha256}


@pytest.mark.asyncio
@on_every_executor
async def test_a_stopped_run_says_so_everywhere(on: str) -> None:
    async with asyncio.timeout(LIMIT), network(on) as net:
        run = await net.submit(
            "gradient-tracking", problems(), **the_usual(rounds=ENDLESS, observe_every=5)
        )
        async for metric in run.metrics():
            if metric.iteration >= 10:
                break
        await run.stop("enough")
        with pytest.raises(WorkloadStopped, match="enough") as caught:
            await run.result()
        assert caught.value.workload == run.workload_id
        with pytest.raises(WorkloadStopped, match="enough"):
            await iterations(run)
        await run.stop("again")
        with pytest.raises(WorkloadStopped, match="enough"):
            await run.result()


@pytest.mark.asyncio
@on_every_executor
@pytest.mark.parametrize("tol", [None, 1e-300])
async def test_a_run_is_stopped_between_two_observations(on: str, tol: float | None) -> None:
    never = the_usual(rounds=ENDLESS, observe_every=ENDLESS, tol=tol)
    async with asyncio.timeout(LIMIT), network(on) as net:
        run = await net.submit("gradient-tracking", problems(), **never)
        async for _ in run.metrics():
            break
        await run.stop("enough")
        with pytest.raises(WorkloadStopped, match="enough"):
            await run.result()
        assert [metric.iteration for metric in run.told] == [0]


@dataclass(frozen=True)
class Alone(Algorithm[Any]):
    """Never exchanges anything."""

    requires = Requires()

    def init(self, x: Array, problem: Any, here: Here) -> Any:
        return GradientTracking(0.05).init(x, problem, here)

    def step(self, s: Any, problem: Any, here: Here) -> Step[Any]:
        return s
        yield


@pytest.mark.asyncio
async def test_a_run_that_exchanges_nothing_is_stopped_all_the_same() -> None:
    async with asyncio.timeout(LIMIT), network("dense") as net:
        run = await net.submit(Alone(), problems(), rounds=ENDLESS, observe_every=10)
        async for _ in run.metrics():
            break
        await run.stop("enough")
        with pytest.raises(WorkloadStopped, match="enough"):
            await run.result()


@pytest.mark.asyncio
@on_every_executor
async def test_a_run_that_is_stopped_at_once_never_begins(on: str) -> None:
    async with asyncio.timeout(LIMIT), network(on) as net:
        run = await net.submit("gradient-tracking", problems(), **the_usual(rounds=ENDLESS))
        await run.stop("changed my mind")
        with pytest.raises(WorkloadStopped, match="changed my mind"):
            await run.result()
        assert run.told == []


@pytest.mark.asyncio
async def test_stopping_what_has_ended_changes_nothing() -> None:
    async with asyncio.timeout(LIMIT), network("dense") as net:
        run = await net.submit("gradient-tracking", problems(), **the_usual())
        result = await run.result()
        await run.stop()
        assert (await run.result()) is result


@pytest.mark.asyncio
@pytest.mark.parametrize("on", ["dense", "simulated", "inprocess"])
async def test_a_failure_comes_out_of_result_and_of_metrics(on: str) -> None:
    async with asyncio.timeout(LIMIT), network(on) as net:
        run = await net.submit(Fails(), problems(), rounds=100, observe_every=10)
        seen: list[int] = []

        async def watch() -> None:
            async for metric in run.metrics():
                seen.append(metric.iteration)  # noqa: PERF401 - it fails in the middle

        with pytest.raises(WorkloadFailed, match="boom"):
            await watch()
        assert seen[:3] == [0, 10, 20]
        with pytest.raises(WorkloadFailed, match="boom"):
            await run.result()
        other = await net.submit("gradient-tracking", problems(), **the_usual())
        assert (await other.result()).summary.status == "done", "the network goes on"


@pytest.mark.asyncio
@on_every_executor
@pytest.mark.parametrize("begun", [False, True])
async def test_leaving_the_block_ends_what_still_runs(on: str, begun: bool) -> None:
    async with asyncio.timeout(LIMIT):
        async with network(on) as net:
            run = await net.submit(
                "gradient-tracking", problems(), **the_usual(rounds=ENDLESS, observe_every=5)
            )
            if begun:
                async for _ in run.metrics():
                    break
        with pytest.raises(WorkloadStopped, match="its network was closed"):
            await run.result()
        with pytest.raises(WorkloadStopped, match="its network was closed"):
            await iterations(run)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("run ")]


@pytest.mark.asyncio
async def test_an_error_in_the_block_ends_the_runs_and_is_raised() -> None:
    async def main() -> Run:
        async with network("inprocess") as net:
            run = await net.submit(
                "gradient-tracking", problems(), **the_usual(rounds=ENDLESS, observe_every=5)
            )
            runs.append(run)
            raise KeyError("mine")

    runs: list[Run] = []
    with pytest.raises(KeyError, match="mine"):
        await main()
    with pytest.raises(P2pdoError):
        await runs[0].result()


@pytest.mark.asyncio
async def test_a_waiter_that_is_cancelled_does_not_cancel_the_run() -> None:
    async with asyncio.timeout(LIMIT), network("inprocess") as net:
        run = await net.submit("gradient-tracking", problems(), **the_usual(rounds=300))
        waiting = asyncio.create_task(run.result())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert (await run.result()).summary.iterations == 300


@dataclass(frozen=True, eq=False)
class BreaksLate:
    """Its gradient is a number at the start only."""

    dimension: int = 3

    def value(self, x: np.ndarray) -> float:
        return float(x.sum())

    def gradient(self, x: np.ndarray) -> np.ndarray:
        return np.ones_like(x) if not x.any() else np.full_like(x, np.nan)


@pytest.mark.parametrize("on", ["dense", "simulated", "inprocess"])
def test_a_result_that_is_not_finite_is_no_result(on: str) -> None:
    """Nobody sends what the last iteration makes, so it is checked where it is shown."""
    with pytest.raises(P2pdoError, match="not finite") as failure:
        p2pdo.run(
            [BreaksLate()] * 3, algorithm="dgd", parameters={"step_size": 0.1}, rounds=2, on=on
        )
    assert (failure.value.iteration, failure.value.node is not None) == (2, True)


def test_a_run_whose_folder_is_gone_fails_and_nobody_waits_for_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"

    def observe(iteration: int, states: object) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    with pytest.raises(ConfigError, match="cannot write"):
        p2pdo.run(problems(), on="dense", out=folder, observe=observe, **the_usual())


# ---- observe= ----


@on_every_executor
def test_the_observed_states_are_shown_in_order_and_the_last_are_the_result(on: str) -> None:
    seen: list[tuple[int, Array]] = []

    def observe(iteration: int, states: Sequence[Array]) -> None:
        seen.append((iteration, np.stack(states)))

    result = p2pdo.run(problems(), on=on, observe=observe, **the_usual())
    assert [iteration for iteration, _ in seen] == [0, 20, 40, 60]
    assert [x.tobytes() for x in seen[-1][1]] == [x.tobytes() for x in result.states]
    assert not seen[0][1].any(), "the starts"


@on_every_executor
def test_what_goes_wrong_in_observe_fails_the_run_and_says_how_it_is_called(on: str) -> None:
    def observe(iteration: int, states: Sequence[Array]) -> None:
        if iteration == 20:
            raise KeyError("mine")

    with pytest.raises(WorkloadFailed, match=r"observe\(\) raised KeyError: 'mine'") as caught:
        p2pdo.run(problems(), on=on, observe=observe, **the_usual())
    assert caught.value.iteration == 20
    assert "states[i] is x of node i" in str(caught.value.hint)


# ---- starts that problems bring ----


@dataclass(frozen=True, eq=False)
class Starts:
    """A cost with a start of its own."""

    dimension: int = 2
    dtype: np.dtype[Any] = field(default=np.dtype("float32"))

    def value(self, x: Array) -> float:
        return float(x @ x)

    def gradient(self, x: Array) -> Array:
        return 2 * x

    def initial(self, seed: int) -> Array:
        return np.full(2, seed, self.dtype)


def test_a_problem_that_brings_a_start_and_a_dtype_is_asked_for_both() -> None:
    settings: dict[str, Any] = {"parameters": {"step_size": 0.1}, "rounds": 0, "seed": 7}
    result = p2pdo.run([Starts()] * 3, **settings)
    assert [x.tolist() for x in result.states] == [[7, 7]] * 3
    assert {str(x.dtype) for x in result.states} == {"float32"}
    asked = p2pdo.run([Starts()] * 3, start="zeros", dtype="float64", **settings)
    assert [x.tolist() for x in asked.states] == [[0, 0]] * 3
    assert {str(x.dtype) for x in asked.states} == {"float64"}


def test_consensus_starts_from_numbers_that_differ_whatever_the_problem_brings() -> None:
    result = p2pdo.run([Starts()] * 3, algorithm="consensus", rounds=0)
    assert not np.array_equal(*result.states[:2])
