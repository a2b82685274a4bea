"""Stochastic costs: a step sees the mini-batch of its iteration, the same on every executor."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms import Algorithm, Dgd, GradientTracking, GtAdam
from p2pdo.effects import Here
from p2pdo.errors import ConfigError, WorkloadFailed
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.problems import JaxProblem, LeastSquares, TorchProblem
from p2pdo.problems.base import is_stochastic
from p2pdo.protocol.judging import Judge, Objective, Report
from p2pdo.protocol.plan import Plan, start_at
from p2pdo.protocol.stepper import Stepper
from p2pdo.reporting.digests import state_sha256
from p2pdo.simulation.inprocess import run_in_process, run_simulated
from p2pdo.simulation.lockstep import advance_to, run_lockstep
from p2pdo.simulation.network import Weather
from p2pdo.simulation.stacked import run_stacked
from p2pdo.types import Array

N, ROWS, D = 4, 9, 3


@dataclass(frozen=True, eq=False)
class Sampled:
    """Least squares of which a step sees three rows."""

    A: Array
    b: Array
    dimension: int = D

    def value(self, x: Array) -> float:
        return LeastSquares(self.A, self.b).value(x)

    def gradient(self, x: Array) -> Array:
        return LeastSquares(self.A, self.b).gradient(x)

    def at(self, here: Here) -> LeastSquares:
        rows = here.data_rng().choice(len(self.b), 3, replace=False)
        return LeastSquares(self.A[rows], self.b[rows])

    @classmethod
    def stack(cls, problems: Any) -> Any:
        raise NotImplementedError


def sampled() -> list[Any]:
    rng = np.random.default_rng(1)
    return [Sampled(rng.standard_normal((ROWS, D)), rng.standard_normal(ROWS)) for _ in range(N)]


def torches() -> list[Any]:
    """With dropout and batch norm, which are the hard ones."""
    nn = pytest.importorskip("torch").nn

    def model() -> Any:
        return nn.Sequential(
            nn.Linear(D, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
        )

    rng = np.random.default_rng(2)
    return [
        TorchProblem(
            model,
            nn.functional.cross_entropy,
            rng.standard_normal((ROWS, D)),
            rng.integers(0, 2, ROWS),
            batch_size=4,
        )
        for _ in range(N)
    ]


def jaxes() -> list[Any]:
    jax = pytest.importorskip("jax")

    def loss(params: Any, batch: Any, key: Any) -> Any:
        rows, targets = batch
        hidden = jax.numpy.tanh(rows @ params["inner"])
        if key is not None:
            hidden = hidden * jax.random.bernoulli(key, 0.7, hidden.shape)
        return jax.numpy.mean((hidden @ params["outer"] - targets) ** 2)

    rng = np.random.default_rng(3)
    tree = {"inner": rng.standard_normal((D, 5)), "outer": rng.standard_normal(5)}
    return [
        JaxProblem(loss, tree, (rng.standard_normal((ROWS, D)), rng.standard_normal(ROWS)), 4)
        for _ in range(N)
    ]


COSTS = {"numpy": sampled, "torch": torches, "jax": jaxes}


def plan_of(algorithm: Algorithm[Any], problems: list[Any], **changes: Any) -> Plan:
    graph = by_name("ring", N, np.random.default_rng(0))
    dtype = str(getattr(problems[0], "dtype", "float64"))
    starts = [start_at(p, None, "", node=i, seed=3, dtype=dtype) for i, p in enumerate(problems)]
    settings: dict[str, Any] = {"rounds": 30, "observe_every": 10, "seed": 3, **changes}
    return Plan(algorithm, problems, graph, default(graph), starts, **settings)


def judge_of(plan: Plan) -> Judge:
    return Judge(Objective(plan.problems), plan.nodes, plan.tol)


def ignore(_judgement: object) -> None:
    pass


def sha(reports: list[Report]) -> str:
    return state_sha256([report.x for report in reports])


@pytest.mark.slow
@pytest.mark.parametrize("costs", COSTS)
@pytest.mark.parametrize("algorithm", [Dgd(0.05), GradientTracking(0.05), GtAdam(0.01)])
def test_bits_do_not_depend_on_the_executor(costs: str, algorithm: Algorithm[Any]) -> None:
    plan = plan_of(algorithm, COSTS[costs]())
    dense = sha(run_lockstep(plan, judge_of(plan), ignore))
    weather = Weather(delay=0.02, duplicate=0.2, cut=0.005)
    for seed in range(2):
        assert (
            sha(run_simulated(plan, judge_of(plan), ignore, delay_seed=seed, weather=weather))
            == dense
        )
    assert sha(asyncio.run(run_in_process(plan, judge_of(plan), ignore))) == dense


def test_it_equals_the_recursion_with_the_same_mini_batches() -> None:
    problems = sampled()
    plan = plan_of(GradientTracking(0.05), problems)
    W = plan.weights.to_dense()

    def gradients(X: Array, k: int) -> Array:
        return np.stack(
            [p.at(Here(k, i, (), (), 3)).gradient(X[i]) for i, p in enumerate(problems)]
        )

    X = np.stack(plan.starts)
    old = gradients(X, 0)
    Y = old
    for k in range(30):
        X = W @ X - 0.05 * Y
        new = gradients(X, k)
        Y, old = W @ Y + new - old, new
    reports = run_lockstep(plan, judge_of(plan), ignore)
    np.testing.assert_allclose(np.stack([r.x for r in reports]), X, atol=1e-12)


def test_the_mean_tracker_is_the_mean_of_the_mini_batches_gradients() -> None:
    plan = plan_of(GradientTracking(0.05), sampled())
    steppers = [
        Stepper(plan.algorithm, p, plan.place(i), plan.starts[i], 3)
        for i, p in enumerate(plan.problems)
    ]
    for k in range(20):
        advance_to(steppers, k)
        y, g = (np.mean([getattr(s.state, name) for s in steppers], axis=0) for name in "yg")
        np.testing.assert_allclose(y, g, atol=1e-12)


def test_another_seed_is_another_run() -> None:
    plans = [plan_of(Dgd(0.05), sampled(), seed=seed) for seed in (3, 4)]
    assert len({sha(run_lockstep(plan, judge_of(plan), ignore)) for plan in plans}) == 2


def test_mini_batches_do_not_stack() -> None:
    plan = plan_of(Dgd(0.05), sampled())
    with pytest.raises(ConfigError, match="Sampled draws mini-batches node by node") as caught:
        run_stacked(plan, judge_of(plan), ignore)
    assert caught.value.hint == "use --on dense"


@dataclass(frozen=True, eq=False)
class Spoilt(Sampled):
    def at(self, here: Here) -> LeastSquares:
        raise ValueError(f"no rows in iteration {here.iteration}")


def test_what_goes_wrong_in_at_is_told_with_the_node() -> None:
    problems = sampled()
    problems[2] = Spoilt(problems[2].A, problems[2].b)
    with pytest.raises(WorkloadFailed, match="no rows in iteration 0") as caught:
        run_lockstep(plan_of(Dgd(0.05), problems), judge_of(plan_of(Dgd(0.05), problems)), ignore)
    assert caught.value.node == "node-2"


def test_data_of_that_name_do_not_make_a_cost_stochastic() -> None:
    @dataclass
    class Point:
        at: Array
        dimension: int = 2

        def value(self, x: Array) -> float:
            return 0.0

        def gradient(self, x: Array) -> Array:
            return x - self.at

    assert not is_stochastic(Point(np.zeros(2)))
