"""Accelerated methods: their defaults work, and buy what the papers say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms.base import CostBounds
from p2pdo.algorithms.catalogue import find, told_by_costs, told_by_network
from p2pdo.algorithms.inner_gossip import interval_of
from p2pdo.errors import ConfigError
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import Weights, default, from_matrix
from p2pdo.problems import LeastSquares, Quadratic

NAMES = ["acc-dngd", "mudag", "opapc", "ssda", "msda"]
N, D = 8, 3


def weights(topology: str, n: int = N) -> Weights:
    return default(by_name(topology, n, np.random.default_rng(0)))


def curved(condition: float, n: int = N) -> list[Quadratic]:
    """Each with eigenvalues from 1 to `condition`, nearly along the same directions."""
    rng = np.random.default_rng(13)
    costs = []
    for _ in range(n):
        V = np.linalg.qr(np.eye(D) + 0.1 * rng.standard_normal((D, D)))[0]
        H = (V * np.geomspace(1, condition, D)) @ V.T
        costs.append(Quadratic((H + H.T) / 2, rng.standard_normal(D)))
    return costs


def iterations(costs: Any, name: str, topology: str, rounds: int = 8000) -> int:
    run = p2pdo.run(
        costs,
        name,
        nodes=N,
        topology=topology,
        on="dense",
        rounds=rounds,
        tol=1e-9,
        observe_every=10,
    )
    assert run.summary.iterations < rounds, f"{name} did not come near enough on {topology}"
    return run.summary.iterations


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("topology", ["path", "star", "complete"])
def test_the_defaults_reach_the_optimum_of_quadratics(name: str, topology: str) -> None:
    iterations(curved(30.0), name, topology)


@pytest.mark.parametrize("name", ["acc-dngd", "mudag", "opapc"])
def test_the_defaults_reach_the_optimum_of_logistic_regression(name: str) -> None:
    iterations("breast-cancer", name, "ring")


@pytest.mark.parametrize("name", ["mudag", "opapc", "ssda", "msda"])
def test_a_hundred_times_the_condition_takes_about_ten_times_the_iterations(name: str) -> None:
    easy, hard = (iterations(curved(c), name, "complete") for c in (10.0, 1000.0))
    assert 4 * easy < hard < 20 * easy


@pytest.mark.parametrize("name", ["opapc", "msda"])
def test_several_mixings_make_a_slow_graph_as_good_as_a_fast_one(name: str) -> None:
    fast, slow = (iterations(curved(100.0), name, graph) for graph in ("complete", "path"))
    assert slow < 2 * fast


@pytest.mark.parametrize("name", ["opapc", "ssda", "msda"])
def test_what_is_not_given_is_told_by_network_and_costs(name: str) -> None:
    cls, path = find(name), weights("path")
    eigenvalues = np.linalg.eigvalsh(path.to_dense())
    told = told_by_network(cls, {}, path)
    assert told == pytest.approx({"second": eigenvalues[-2], "smallest": eigenvalues[0]})
    assert told_by_costs(cls, {}, CostBounds(9.0, 2.0, 1.0, 4.0, 2.0, 3.0)) == {
        "smoothness": 9,
        "convexity": 1,
    }
    with pytest.raises(ConfigError, match="not strongly convex"):
        told_by_costs(cls, {}, CostBounds(9.0, 2.0, 0.0, 4.0, 2.0, 3.0))


@pytest.mark.parametrize("name", ["acc-dngd", "mudag"])
def test_tracking_takes_the_mean_convexity(name: str) -> None:
    assert told_by_costs(find(name), {}, CostBounds(9.0, 2.0, 0.0, 4.0, 2.0, 3.0)) == {
        "convexity": 4.0
    }


def test_an_interval_holds_all_eigenvalues_but_the_one_of_agreement() -> None:
    assert interval_of(weights("ring", 1)) == (0.0, 0.0)
    assert interval_of(weights("complete", 4)) == pytest.approx((0.0, 0.0), abs=1e-12)
    with pytest.raises(ConfigError, match="do not reach agreement"):
        interval_of(from_matrix(np.eye(2)))


def test_very_many_nodes_have_an_interval_by_their_slem() -> None:
    large: Weights = weights("ring", 1500)
    smallest, second = interval_of(large)
    exact = (1 + 2 * np.cos(2 * np.pi / 1500)) / 3
    assert second == pytest.approx(exact, abs=1e-9)
    assert smallest == -second


@pytest.mark.parametrize("name", NAMES)
def test_costs_that_are_only_convex_are_refused(name: str) -> None:
    rng = np.random.default_rng(0)
    flat = [LeastSquares(rng.standard_normal((1, 2)), np.ones(1)) for _ in range(4)]
    with pytest.raises(ConfigError, match="not strongly convex"):
        p2pdo.run(flat, name, on="dense", rounds=1)


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("acc-dngd", {"step_size": 2.0, "convexity": 1.0}, "must not be above 1"),
        ("mudag", {"step_size": 0.1, "slem": 1.0}, r"slem must lie in \[0, 1\)"),
        ("mudag", {"step_size": 0.1, "mixings": -1}, "mixings must be 0 or more"),
        ("opapc", {"convexity": 2.0}, "0 < convexity <= smoothness"),
        ("opapc", {"mixings": -1}, "mixings must be 0 or more"),
        ("ssda", {"second": 1.0}, "-1 <= smallest <= second < 1"),
        ("msda", {"mixings": -1}, "mixings must be 0 or more"),
    ],
)
def test_parameters_out_of_range_are_refused(name: str, given: dict[str, Any], says: str) -> None:
    cls: Any = find(name)
    with pytest.raises(ConfigError, match=says) as caught:
        cls(**given)
    assert caught.value.hint


def exchanges(name: str, **given: Any) -> float:
    """A node's, in an iteration, on a ring."""
    run = p2pdo.run(curved(10.0), find(name)(**given), nodes=N, on="dense", rounds=10)
    return run.summary.messages_sent / (10 * N * 2)


def test_as_many_exchanges_as_mixings() -> None:
    span = {"smoothness": 10.0, "convexity": 1.0, "second": 0.8, "smallest": -0.4}
    assert exchanges("opapc", **span) == 2  # ⌊√(1.4/0.2)⌋
    assert exchanges("opapc", **span, mixings=5) == 5
    assert exchanges("msda", **span) == 2
    assert exchanges("ssda", **span) == 1
    assert exchanges("mudag", step_size=0.1, mixings=3) == 6
    assert exchanges("acc-dngd", step_size=0.001) == 1
