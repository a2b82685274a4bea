"""The hinge loss: its minima are where a subgradient is zero, which other solvers confirm."""

from __future__ import annotations

import numpy as np
import pytest

import p2pdo
from p2pdo.data.catalogue import build_all
from p2pdo.errors import ConfigError
from p2pdo.problems import Hinge, margins
from p2pdo.reporting.records import Summary
from p2pdo.types import Array


def hinge(rows: int = 40, d: int = 4, l2: float = 0.1, seed: int = 0) -> Hinge:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((rows, d))
    b = np.sign(A[:, 0] + rng.standard_normal(rows))
    return Hinge(A, b, samples=rows, l2=l2)


def smallest_subgradient(costs: list[Hinge], x: Array, of_rest: Array) -> float:
    """Min ‖g‖ over all subgradients of Σ fᵢ at x, `of_rest` added; by SciPy's bounded solver."""
    optimize = pytest.importorskip("scipy.optimize")
    g, free = of_rest.copy(), []
    for cost in costs:
        g += cost.l2 * x
        for a, b in zip(cost.A, cost.b, strict=True):
            margin = 1 - b * (a @ x)
            if abs(margin) < 1e-8:
                free.append(-b * a / cost.samples)
            elif margin > 0:
                g -= b * a / cost.samples
    if not free:
        return float(np.linalg.norm(g))
    found = optimize.lsq_linear(np.stack(free, axis=1), -g, (0, 1), tol=1e-15)
    return float(np.sqrt(2 * found.cost))


@pytest.mark.parametrize("l2", [1e-3, 0.1, 10.0])
def test_at_the_minimiser_a_subgradient_is_zero(l2: float) -> None:
    costs = [hinge(rows, l2=l2, seed=rows) for rows in (40, 1, 17)]
    x = Hinge.minimiser(costs)
    assert smallest_subgradient(costs, x, np.zeros(4)) < 1e-9


@pytest.mark.parametrize("rho", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_at_the_proximal_point_a_subgradient_is_zero(l2: float, rho: float) -> None:
    cost, v = hinge(l2=l2), np.random.default_rng(1).standard_normal(4)
    x = cost.prox(v, rho)
    assert smallest_subgradient([cost], x, rho * (x - v)) < 1e-9 * max(1, rho)


def test_the_proximal_map_keeps_the_dtype_and_leaves_v_alone() -> None:
    v = np.ones(4, np.float32)
    v.flags.writeable = False
    x = hinge().prox(v, 0.5)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, hinge().prox(v.astype(float), 0.5), atol=1e-6)


def test_the_optimum_of_real_data_is_a_support_vector_machines() -> None:
    svm = pytest.importorskip("sklearn.svm")
    costs = build_all("breast-cancer-svm", 8)
    x = Hinge.minimiser(costs)  # type: ignore[arg-type]
    A, b = (np.concatenate([getattr(p, name) for p in costs]) for name in "Ab")
    peer = svm.SVC(kernel="linear", C=1 / (569 * 0.01), tol=1e-10)  # with a free intercept,
    peer.fit(np.hstack([A, 0 * A[:, :1]]), b)  # which ours is penalised for: so it is no worse
    w = peer.coef_[0][: A.shape[1]].copy()
    w[-1] += peer.intercept_[0]
    assert 0 < sum(p.value(w) - p.value(x) for p in costs) < 0.01  # type: ignore[union-attr]
    assert smallest_subgradient(costs, x, np.zeros(31)) < 1e-9  # type: ignore[arg-type]


def test_without_a_penalty_there_is_no_one_minimiser() -> None:
    with pytest.raises(ConfigError, match="nothing is penalised"):
        Hinge.minimiser([hinge(l2=0.0)])


def test_what_is_not_found_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(margins, "STEPS", 1)
    with pytest.raises(ConfigError, match="found no minimiser of the hinge loss"):
        Hinge.minimiser([hinge(400, l2=1e-4)])


def test_proximal_methods_go_to_the_optimum_and_subgradients_stay_near_it() -> None:
    costs = [hinge(20, 3, seed=i) for i in range(4)]

    def summary(algorithm: str, **parameters: float) -> Summary:
        how = {"parameters": parameters, "topology": "complete", "rounds": 100, "on": "dense"}
        return p2pdo.run(costs, algorithm, **how).summary  # type: ignore[arg-type]

    exact, near = summary("edge-admm", rho=0.1), summary("dgd", step_size=0.1)
    assert exact.gap is not None
    assert near.gap is not None
    assert abs(exact.gap) < 1e-4 < near.gap < 0.1
