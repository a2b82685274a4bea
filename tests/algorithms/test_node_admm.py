"""The penalty of ADMM: what costs and graph say, and that it is better than one for all."""

from __future__ import annotations

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import ConsensusAdmm, EdgeAdmm
from p2pdo.algorithms.base import CostBounds
from p2pdo.algorithms.node_admm import penalty_of
from p2pdo.api.jobs import resolve
from p2pdo.api.preflight import look_at
from p2pdo.api.requests import Request
from p2pdo.problems import Quadratic


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_it_has_the_unit_of_a_curvature(scale: float) -> None:
    bounds = CostBounds(
        4 * scale, 2 * scale, 1 * scale, 1 * scale, mean_degree=2.0, largest_degree=3.0
    )
    assert penalty_of(bounds) == pytest.approx(scale)


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("algorithm", ["consensus-admm", "edge-admm", "dlm", "dinno"])
def test_costs_in_another_unit_are_as_near_as_soon(algorithm: str, scale: float) -> None:
    rng = np.random.default_rng(7)
    shapes = [np.diag(rng.uniform(1, 10, 3)) for _ in range(6)]
    terms = rng.standard_normal((6, 3))

    def digits(unit: float) -> float:
        costs = [Quadratic(unit * H, unit * c) for H, c in zip(shapes, terms, strict=True)]
        run = p2pdo.run(costs, algorithm, topology="ring", rounds=60, on="dense")
        optimum = Quadratic.minimiser(costs)
        assert np.abs(run.states - optimum).max() < 0.1
        return -float(np.log10(np.abs(run.states - optimum).max()))

    assert digits(scale) == pytest.approx(digits(1.0), abs=0.5)


@pytest.mark.parametrize("topology", ["ring", "star"])
def test_over_edges_it_is_the_method_at_nodes_with_half_the_penalty(topology: str) -> None:
    rates = [
        look_at(
            resolve(Request(problem="quadratic", algorithm=algorithm, topology=topology)),
            ranges=False,
        )
        for algorithm in (ConsensusAdmm(0.7), EdgeAdmm(1.4))
    ]
    assert rates[0].prediction.rate == pytest.approx(rates[1].prediction.rate, abs=1e-9)
