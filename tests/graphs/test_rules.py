"""Weights by rule: each against its formula, and the optimised ones against what they promise."""

from __future__ import annotations

from typing import Any

import networkx as nx
import numpy as np
import pytest

from p2pdo.errors import ConfigError, MissingExtra
from p2pdo.graphs import (
    WEIGHTS,
    Stochastic,
    graph_by_name,
    is_symmetric,
    metropolis,
    ring,
    spectrum,
    star,
    stochastic,
    weights_by_name,
)
from p2pdo.graphs.rules import _laplacian_ends
from p2pdo.graphs.spectral import _sparse

SUMS = {"doubly": Stochastic.DOUBLY, "rows": Stochastic.ROW, "columns": Stochastic.COLUMN}
QUICK = sorted(set(WEIGHTS) - {"fdla"})
TOPOLOGIES = ["ring", "star", "path", "tree", "barbell", "grid", "hierarchical"]


def of(name: str, n: int) -> Any:
    return graph_by_name(name, n, np.random.default_rng(0))


@pytest.mark.parametrize("n", [1, 2, 9])
@pytest.mark.parametrize("topology", TOPOLOGIES)
@pytest.mark.parametrize("rule", QUICK)
def test_a_rules_sums_are_those_that_its_line_states(rule: str, topology: str, n: int) -> None:
    weights = weights_by_name(rule, of(topology, n))
    assert SUMS[WEIGHTS[rule].sums] in stochastic(weights)
    if WEIGHTS[rule].sums == "doubly":
        assert is_symmetric(weights)


def test_max_degree_weights_are_all_equal() -> None:
    W = weights_by_name("max-degree", star(4)).to_dense()
    assert np.allclose(W[0], 0.25)
    assert np.allclose(W[1], [0.25, 0.75, 0, 0])


def test_lazy_weights_keep_half() -> None:
    graph = of("barbell", 7)
    W = weights_by_name("lazy", graph).to_dense()
    assert np.allclose(W, (np.eye(7) + metropolis(graph).to_dense()) / 2)
    assert np.linalg.eigvalsh(W).min() >= 0


def test_the_laplacian_constant_is_the_best_of_all_constants() -> None:
    graph = of("barbell", 8)
    L = nx.laplacian_matrix(nx.Graph(graph.edges.tolist())).toarray().astype(float)
    best = spectrum(weights_by_name("laplacian", graph)).slem
    for constant in np.linspace(0.05, 1, 40):
        W = np.eye(8) - constant * L
        others = np.abs(np.linalg.eigvalsh(W - np.full((8, 8), 1 / 8))).max()
        assert best <= others + 1e-12


def test_a_large_laplacian_has_the_eigenvalues_of_theory() -> None:
    pytest.importorskip("scipy")
    n = 2048  # the hypercube's are 0, 2, 4, …, 22
    smallest, largest = _laplacian_ends(of("hypercube", n))
    assert (smallest, largest) == pytest.approx((2.0, 22.0), rel=1e-6)
    smallest, largest = _laplacian_ends(of("star", n))  # 0, 1, …, 1, n
    assert (smallest, largest) == pytest.approx((1.0, n), rel=1e-6)


def test_eigenvalues_that_are_not_found_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    monkeypatch.setattr("p2pdo.graphs.rules.RESTARTS", 1)
    with pytest.raises(ConfigError, match="were not found") as caught:
        weights_by_name("laplacian", of("path", 1500))
    assert "metropolis" in str(caught.value.hint)


@pytest.mark.parametrize("rule", sorted({"max-degree", "lazy", "laplacian", "fdla"}))
def test_a_directed_graph_is_refused_where_both_ends_use_one_weight(rule: str) -> None:
    with pytest.raises(ConfigError, match=f"{rule} weights need an undirected graph"):
        weights_by_name(rule, of("directed-ring", 5))


def test_an_unknown_rule_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        weights_by_name("laplacain", ring(4))
    assert "laplacian" in str(caught.value.hint)


# ---- the optimised ones ----


def test_without_cvxpy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(MissingExtra) as caught:
        weights_by_name("fdla", ring(4))
    assert "p2pdo[fdla]" in str(caught.value.hint)


def test_too_many_nodes_are_refused_before_anything_is_solved() -> None:
    with pytest.raises(ConfigError, match="101 nodes"):
        weights_by_name("fdla", ring(101))


@pytest.mark.slow
@pytest.mark.parametrize("topology", ["barbell", "path", "star"])
def test_fdla_mixes_no_slower_than_any_other_rule(topology: str) -> None:
    pytest.importorskip("cvxpy")
    pytest.importorskip("scs")
    graph = of(topology, 8)
    fastest = weights_by_name("fdla", graph)
    assert Stochastic.DOUBLY in stochastic(fastest)
    assert is_symmetric(fastest)
    slem = spectrum(fastest).slem
    for rule in ("metropolis", "max-degree", "lazy", "laplacian"):
        assert slem <= spectrum(weights_by_name(rule, graph)).slem + 1e-5


@pytest.mark.slow
def test_fdla_of_a_path_has_the_known_optimum() -> None:
    pytest.importorskip("cvxpy")
    pytest.importorskip("scs")
    n = 6  # on a path all weights 1/2 are optimal: SLEM cos(π/n) (Boyd, Diaconis, Sun & Xiao 2006)
    weights = weights_by_name("fdla", of("path", n))
    assert spectrum(weights).slem == pytest.approx(np.cos(np.pi / n), abs=1e-5)


def test_the_sparse_figures_are_those_of_the_dense() -> None:
    pytest.importorskip("scipy")
    for topology in ("k-regular:4", "hypercube", "torus"):
        weights = weights_by_name("metropolis", of(topology, 64))
        assert _sparse(weights, symmetric=True) == pytest.approx(spectrum(weights).slem, abs=1e-5)
