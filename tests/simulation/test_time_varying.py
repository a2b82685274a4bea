"""Weights that vary with the iteration: every executor has the bits of the dense recursion."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms import AtcTracking, AugDgm, Consensus, Dgd, DgdCta, GradientTracking
from p2pdo.algorithms.base import Algorithm
from p2pdo.problems import Distance
from p2pdo.protocol.assignment import resolve_graph
from p2pdo.protocol.judging import Judge, Objective, Report
from p2pdo.protocol.plan import Plan
from p2pdo.simulation.inprocess import run_in_process, run_simulated
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.simulation.stacked import run_stacked

TOPOLOGIES: list[tuple[Any, str | None]] = [
    ("one-peer-exponential", None),
    ("ring", "active-links:0.5"),
    ({"cycle": [{"edges": [[0, 1], [2, 3], [4, 5]]}, {"edges": [[1, 2], [3, 4], [5, 0]]}]}, None),
]
ALGORITHMS: list[Algorithm[Any]] = [
    Consensus(),
    Dgd(0.1),
    DgdCta(0.1),
    GradientTracking(0.1),
    AtcTracking(0.1),
    AugDgm(0.1),
]


def plan_of(algorithm: Algorithm[Any], which: int, rounds: int = 25) -> Plan:
    topology, weights = TOPOLOGIES[which]
    graph, W, _ = resolve_graph(topology, weights, 6, 4, algorithm.requires)
    rng = np.random.default_rng(0)
    problems = [Distance(c) for c in rng.standard_normal((6, 3))]
    starts = list(rng.standard_normal((6, 3)))
    return Plan(algorithm, problems, graph, W, starts, rounds, observe_every=5, seed=4)


def states(reports: Any) -> np.ndarray[Any, Any]:
    return np.stack([report.x for report in reports])


def judge(plan: Plan) -> Judge:
    return Judge(Objective(plan.problems), plan.nodes, None)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: type(a).__name__)
def test_all_executors_have_the_same_bits(algorithm: Algorithm[Any], which: int) -> None:
    plan = plan_of(algorithm, which)
    expected = states(run_lockstep(plan, judge(plan), lambda _: None))

    def in_process() -> list[Report]:
        return asyncio.run(run_in_process(plan, judge(plan), lambda _: None))

    for reports in (
        run_stacked(plan, judge(plan), lambda _: None),
        run_simulated(plan, judge(plan), lambda _: None, delay_seed=2),
        in_process(),
    ):
        assert np.array_equal(states(reports), expected)


@pytest.mark.parametrize("which", range(3))
def test_gradient_tracking_is_the_recursion_of_the_iterations_matrices(which: int) -> None:
    plan = plan_of(GradientTracking(0.1), which, rounds=400)
    C = np.stack([p.c for p in plan.problems])
    X = np.stack(plan.starts)
    G = X - C
    Y = G
    for k in range(plan.rounds):
        W = plan.weights.at(k).to_dense()
        X = W @ X - 0.1 * Y
        Y, G = W @ Y + (X - C) - G, X - C
    found = states(run_lockstep(plan, judge(plan), lambda _: None))
    assert np.allclose(found, X, rtol=0, atol=1e-12)
    assert np.allclose(found, C.mean(axis=0), rtol=0, atol=1e-9)
