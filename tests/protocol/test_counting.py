"""What steps ask of their costs is counted once, wherever they run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.effects import Here
from p2pdo.problems import Lasso, LeastSquares
from p2pdo.problems.base import Composite, FiniteSum, Gradient, Prox
from p2pdo.protocol.counting import Calls, Covering

N, ROUNDS = 3, 20
RNG = np.random.default_rng(0)
COSTS = [LeastSquares(RNG.normal(size=(8, 4)), RNG.normal(size=8)) for _ in range(N)]
LASSOS = [Lasso(c.A, c.b, 0.01) for c in COSTS]


class Batches(LeastSquares):
    """Its mini-batches are of one class, made anew at every iteration."""

    def at(self, here: Here) -> Gradient:
        rows = here.data_rng().integers(8, size=2)
        return LeastSquares(self.A[rows], self.b[rows])


@pytest.mark.parametrize(
    ("algorithm", "problems", "each"),
    [
        ("dgd", COSTS, Calls(ROUNDS)),
        ("gradient-tracking", COSTS, Calls(ROUNDS + 1)),  # and one of init
        ("consensus-admm", COSTS, Calls(proxes=ROUNDS)),
        ("pg-extra", LASSOS, Calls(ROUNDS, proxes=ROUNDS)),
        ("lt-admm", COSTS, None),
        ("gt-saga", COSTS, Calls((8 + ROUNDS) / 8)),  # all terms, then one each iteration
        ("dgd", [Batches(c.A, c.b) for c in COSTS], Calls(ROUNDS)),
    ],
)
def test_every_executor_counts_alike(algorithm: str, problems: Any, each: Calls | None) -> None:
    told = []
    for executor in ("dense", "simulated", "inprocess"):
        asked = {"rounds": ROUNDS, "observe_every": 10, "on": executor}
        result = p2pdo.run(problems, algorithm, nodes=N, **asked)  # type: ignore[arg-type]
        assert result.metrics[-1].calls == result.summary.calls
        told.append([m.calls for m in result.metrics])
    assert told[0] == told[1] == told[2]
    last = told[0][-1]
    assert last is not None
    assert last.gradients + last.proxes > 0
    if each is not None:
        assert last == Calls(N * each.gradients, N * each.values, N * each.proxes)


def test_a_stacked_run_counts_for_each_node() -> None:
    runs = [p2pdo.run(COSTS, "gradient-tracking", rounds=9, on=on) for on in ("dense", "stacked")]
    assert runs[0].summary.calls == runs[1].summary.calls == Calls(N * 10.0)


@pytest.mark.e2e
@pytest.mark.slow
def test_counts_cross_from_processes_and_stand_in_the_folder(tmp_path: Path) -> None:
    asked: Any = {"nodes": N, "rounds": 10, "out": tmp_path / "run", "on": "processes"}
    result = p2pdo.run("least-squares", "gradient-tracking", **asked)
    assert result.summary.calls == Calls(N * 11.0)
    counts = json.loads((tmp_path / "run" / "counts.json").read_text())
    assert counts["node-1"] == {
        "gradients": 11.0,
        "values": 0,
        "proxes": 0,
        "messages": result.summary.messages_sent // N,
        "bytes": result.summary.bytes_sent // N,
    }


def test_terms_of_a_finite_sum_are_a_share_of_a_gradient() -> None:
    covering = Covering()
    cover = covering.cover(COSTS[0])
    cover.term_gradients(np.zeros(4), np.array([1, 3]))
    assert covering.calls == Calls(gradients=2 / 8)


def test_a_cover_is_otherwise_the_problem() -> None:
    cover = Covering().cover(COSTS[0])
    assert isinstance(cover, LeastSquares)
    assert isinstance(cover, Prox)
    assert isinstance(cover, FiniteSum)
    assert not isinstance(cover, Composite)
    assert cover.smoothness == COSTS[0].smoothness
    assert not hasattr(cover, "smooth_gradient")


def test_accuracy_is_told_where_the_problem_classifies() -> None:
    result = p2pdo.run("breast-cancer", "extra", nodes=4, rounds=300, partition="label-skew")
    from p2pdo.data.breast_cancer import load

    A, b = load()
    expected = float(np.mean(np.sign(A @ result.x) == b))
    assert result.summary.accuracy == result.metrics[-1].accuracy == expected > 0.95
    assert p2pdo.run(COSTS, rounds=1).summary.accuracy is None
