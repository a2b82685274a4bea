"""The ledger is looked at while a run lasts: mistakes show at their node, honest runs go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms import AsynchronousConsensus, AsySonata, RobustPushSum
from p2pdo.algorithms.asynchronous import ASYNCHRONOUS, AsynchronousAlgorithm, Parts
from p2pdo.algorithms.asynchronous.pairwise import AdPsgd
from p2pdo.algorithms.catalogue import build
from p2pdo.effects import Here
from p2pdo.errors import ConfigError, InvariantBroken
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.asynchronous.auditing import auditor_of, has_ledger, require_ledger
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.drops import uniform
from p2pdo.protocol.judging import Judge, Objective, Report
from p2pdo.simulation.asynchronous_in_process import run_asynchronous_in_process
from p2pdo.simulation.inprocess import run_simulated
from p2pdo.simulation.network import Weather

N = 4
ROUGH = Weather(delay=0.02, duplicate=0.2, cut=0.01, outage=0.3)


def plan_of(
    algorithm: AsynchronousAlgorithm[Any],
    every: int | None = 1,
    *,
    scale: float = 1.0,
    rounds: int = 200,
    dtype: str = "float64",
) -> AsynchronousPlan:
    rng = np.random.default_rng(3)
    graph = by_name("ring", N, rng)
    return AsynchronousPlan(
        algorithm,
        [Quadratic(np.eye(2), scale * rng.standard_normal(2)) for _ in range(N)],
        graph,
        default(graph),
        [(scale * rng.standard_normal(2)).astype(dtype) for _ in range(N)],
        rounds,
        50,
        drops=uniform(0.2),
        monitor_every=every,
    )


def simulated(plan: AsynchronousPlan) -> list[Report]:
    judge = Judge(Objective(plan.problems), plan.nodes, None)
    return run_simulated(plan, judge, lambda _: None, delay_seed=1, weather=ROUGH)


def in_loop(plan: AsynchronousPlan) -> list[Report]:
    judge = Judge(Objective(plan.problems), plan.nodes, None)
    return asyncio.run(run_asynchronous_in_process(plan, judge, lambda _: None))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("name", [n for n, cls in ASYNCHRONOUS.items() if has_ledger(cls)])
def test_honest_runs_balance_at_every_wake_up_whatever_their_scale(
    name: str, scale: float, dtype: str
) -> None:
    algorithm: AsynchronousAlgorithm[Any] = build(ASYNCHRONOUS[name], {}, 1.0, 0.1)
    reports = simulated(plan_of(algorithm, scale=scale, dtype=dtype))
    assert [report.iteration for report in reports] == [200] * N


@dataclass(frozen=True)
class _WrongSign(AsySonata):
    def receive(self, s: Any, sender: int, parts: Parts, here: Here) -> Any:
        state, reply = super().receive(s, sender, parts, here)
        if (here.node, here.iteration) == (2, 30):
            state = state._replace(arrived=s.arrived - parts["z"])
        return state, reply


@dataclass(frozen=True)
class _KeepsWhatItSends(RobustPushSum):
    def wake(self, s: Any, problem: Any, here: Here) -> tuple[Any, Mapping[int, Parts]]:
        state, sent = super().wake(s, problem, here)
        return (s if (here.node, here.iteration) == (2, 30) else state), sent


@dataclass(frozen=True)
class _Careless(AdPsgd):
    """A ten-thousandth of what moves over is forgotten."""

    def receive(self, s: Any, sender: int, parts: Parts, here: Here) -> Any:
        state, reply = super().receive(s, sender, parts, here)
        if here.node == 2 and here.iteration >= 30:  # whichever message comes first
            state = state._replace(m=state.m * (1 - 1e-4))
        return state, reply


BROKEN: list[tuple[AsynchronousAlgorithm[Any], str]] = [
    (_WrongSign(0.05), "z"),
    (_KeepsWhatItSends(), "u"),
    (_Careless(0.05), "flow"),
]


@pytest.mark.parametrize("execute", [simulated, in_loop])
@pytest.mark.parametrize(("algorithm", "name"), BROKEN)
def test_a_mistake_ends_the_run_with_its_node_and_wake_up(
    execute: Callable[[AsynchronousPlan], list[Report]],
    algorithm: AsynchronousAlgorithm[Any],
    name: str,
) -> None:
    with pytest.raises(
        InvariantBroken, match=f"the ledger of '{name}' is broken at node-2"
    ) as told:
        execute(plan_of(algorithm))
    assert told.value.node == "node-2"
    assert told.value.iteration is not None
    if execute is simulated:
        assert told.value.iteration == 31, "the first look after it"
    else:  # when a message comes is the loop's affair
        assert 31 <= told.value.iteration < 50
    with pytest.raises(InvariantBroken) as told:
        execute(plan_of(algorithm, 25))
    assert (told.value.node, told.value.iteration) == ("node-2", 50)


def test_without_a_monitor_it_runs_on() -> None:
    assert simulated(plan_of(_KeepsWhatItSends(), None))[0].iteration == 200


def test_what_has_no_running_sums_has_no_ledger() -> None:
    assert auditor_of(AsynchronousConsensus(), 1) is None
    require_ledger(RobustPushSum)
    with pytest.raises(ConfigError, match="asynchronous-consensus sends no running sums") as told:
        require_ledger(AsynchronousConsensus)
    assert "--monitor" in str(told.value.hint)
