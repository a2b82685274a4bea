"""Spectra: known figures, and both methods against the dense one."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from p2pdo.errors import ConfigError, MissingExtra
from p2pdo.graphs import (
    Weights,
    complete,
    default_weights,
    directed_ring,
    exponential,
    from_edges,
    graph_by_name,
    hypercube,
    lanczos,
    metropolis,
    path,
    ring,
    spectral,
    spectrum,
    star,
    torus,
    uniform,
    weights_by_name,
    weights_from_matrix as from_matrix,
)
from p2pdo.graphs.schedules import one_peer_exponential
from p2pdo.graphs.symmetry import by_symmetry


def test_a_ring_of_eight_has_its_known_modulus() -> None:
    figures = spectrum(metropolis(ring(8)))
    assert figures.slem == pytest.approx(1 / 3 + 2 / 3 * math.cos(2 * math.pi / 8), abs=1e-14)
    assert figures.slem == pytest.approx(0.8047, abs=5e-5)
    assert figures.gap == pytest.approx(1 - figures.slem)
    assert figures.iterations_to_1e6 == 64


@pytest.mark.parametrize(
    ("weights", "slem"),
    [
        (metropolis(hypercube(16)), 3 / 5),  # (d − 1) / (d + 1) for d digits, odd or even
        (metropolis(hypercube(8)), 1 / 2),
        (metropolis(star(10)), 1 - 1 / 10),
        (uniform(exponential(16)), 3 / 5),  # (k − 1) / (k + 1) for k hops
        (uniform(directed_ring(6)), math.cos(math.pi / 6)),
        (metropolis(path(2)), 0),
        (from_matrix([[0, 1], [1, 0]]), 1),
        (from_matrix([[2, -1], [-1, 2]]), 3),
    ],
)
def test_known_moduli(weights: Weights, slem: float) -> None:
    assert spectrum(weights).slem == pytest.approx(slem, abs=1e-12)


@pytest.mark.parametrize("weights", [metropolis(ring(1)), uniform(directed_ring(1))])
def test_one_node_agrees_at_once(weights: Weights) -> None:
    assert spectrum(weights) == spectral.Spectrum(slem=0.0, gap=1.0, iterations_to_1e6=0)


def test_a_complete_graph_agrees_in_one_mixing() -> None:
    figures = spectrum(metropolis(complete(6)))
    assert figures.slem == pytest.approx(0, abs=1e-12)
    assert figures.iterations_to_1e6 == 0


@pytest.mark.parametrize(
    "weights",
    [
        metropolis(from_edges(4, [(0, 1), (2, 3)])),  # two parts
        from_matrix([[0, 1], [1, 0]]),  # swaps for ever
        from_matrix([[2, -1], [-1, 2]]),  # sums are right, and it diverges
    ],
)
def test_weights_that_never_agree_have_no_number_of_iterations(weights: Weights) -> None:
    assert spectrum(weights).iterations_to_1e6 is None


def test_the_iterations_are_those_that_mixing_takes() -> None:
    weights = metropolis(ring(8))
    slowest = np.cos(2 * np.pi * np.arange(8) / 8)
    mixings, x = 0, slowest
    while np.linalg.norm(x) > 1e-6 * np.linalg.norm(slowest):
        mixings, x = mixings + 1, weights.apply(x)
    assert mixings == spectrum(weights).iterations_to_1e6


@pytest.mark.parametrize("rule", [None, "lazy", "uniform", "max-degree"])
@pytest.mark.parametrize("name", ["ring", "torus", "hypercube", "exponential", "complete"])
def test_what_looks_the_same_from_every_node_has_the_dense_eigenvalues(
    name: str, rule: str | None
) -> None:
    graph = graph_by_name(name, 64 if name == "hypercube" else 60, np.random.default_rng(0))
    if graph.directed and rule not in (None, "uniform"):
        rule = "push"
    weights = default_weights(graph) if rule is None else weights_by_name(rule, graph, 0)
    found = by_symmetry([weights])
    assert found is not None
    dense = np.linalg.eigvals(weights.to_dense())
    for eigenvalue in dense:
        assert np.abs(found - eigenvalue).min() < 1e-12
    assert np.abs(found).sum() == pytest.approx(np.abs(dense).sum(), rel=1e-12)


@pytest.mark.parametrize("name", ["path", "star", "grid", "small-world"])
def test_a_graph_with_ends_does_not_look_the_same_from_every_node(name: str) -> None:
    graph = graph_by_name(name, 60, np.random.default_rng(0))
    assert by_symmetry([default_weights(graph)]) is None


def test_one_weight_that_differs_is_seen() -> None:
    matrix = metropolis(ring(60)).to_dense()
    assert by_symmetry([from_matrix(matrix)]) is not None
    matrix[7, 7] += 1e-13
    matrix[7, 8] -= 1e-13
    assert by_symmetry([from_matrix(matrix)]) is None


@pytest.mark.parametrize("n", [60, 64])
def test_a_cycle_of_such_weights_is_measured_without_its_matrix(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = one_peer_exponential(n)
    dense = spectrum(weights)
    monkeypatch.setattr(spectral, "DENSE", 10)
    assert spectrum(weights).slem == pytest.approx(dense.slem, rel=1e-9)
    assert spectrum(weights).iterations_to_1e6 == dense.iterations_to_1e6


SPARSE = ["ring", "torus", "path", "grid", "tree", "star", "exponential", "erdos-renyi:0.2"]


@pytest.mark.parametrize("name", SPARSE)
def test_the_sparse_method_finds_what_the_dense_one_finds(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = default_weights(graph_by_name(name, 90, np.random.default_rng(0)))
    dense = spectrum(weights)
    monkeypatch.setattr(spectral, "DENSE", 10)
    assert spectrum(weights).slem == pytest.approx(dense.slem, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("weights", "slem"),
    [
        (metropolis(path(3000)), 1 / 3 + 2 / 3 * math.cos(math.pi / 3000)),
        (metropolis(star(3000)), 1 - 1 / 3000),
        (metropolis(ring(3000)), 1 / 3 + 2 / 3 * math.cos(2 * math.pi / 3000)),
        (metropolis(torus(10_000)), 1 - 2 / 5 * (1 - math.cos(2 * math.pi / 100))),
        (uniform(directed_ring(3000)), math.cos(math.pi / 3000)),
        (uniform(exponential(4096)), 11 / 13),
    ],
)
def test_large_graphs_have_their_known_moduli(weights: Weights, slem: float) -> None:
    found = spectrum(weights)
    assert found.gap == pytest.approx(1 - slem, rel=1e-4)
    assert found == spectrum(weights)  # equal weights, equal figures


UP = np.eye(60, k=1)


@pytest.mark.parametrize(
    "matrix",
    [
        (UP + UP.T) / (UP + UP.T).sum(axis=1, keepdims=True),  # a walk that never rests: −1 too
        np.eye(60) - metropolis(path(60)).to_dense() / 1000,  # no row or column sums to one
    ],
)
def test_a_modulus_near_one_that_cannot_be_confirmed_is_refused(
    matrix: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spectral, "DENSE", 10)
    with pytest.raises(ConfigError, match="cannot be told apart") as refusal:
        spectrum(from_matrix(matrix))
    assert "at most 10 nodes" in str(refusal.value.hint)


@pytest.mark.parametrize(
    ("weights", "slem"),
    [
        (from_matrix(np.roll(np.eye(60), 1, axis=1)), 1),  # hands its values round for ever
        (from_matrix(2 * np.eye(60) - metropolis(ring(60)).to_dense()), 7 / 3),  # diverges
    ],
)
def test_the_sparse_method_sees_what_does_not_mix(
    weights: Weights, slem: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spectral, "DENSE", 10)
    assert spectrum(weights).slem == pytest.approx(slem, abs=1e-3)


def test_a_search_that_does_not_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral, "DENSE", 10)
    monkeypatch.setattr(lanczos, "LOOKS", (20,))
    monkeypatch.setattr(spectral, "RESTARTS", 1)
    monkeypatch.setattr(spectral, "BASIS", 8)
    with pytest.raises(ConfigError, match="cannot be told apart"):
        spectrum(metropolis(path(2000)))


def test_without_scipy_large_graphs_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectral, "DENSE", 10)
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(MissingExtra, match="the spectrum of 12 nodes needs scipy") as refusal:
        spectrum(metropolis(path(12)))
    assert refusal.value.hint == "pip install 'p2pdo[data]'"
