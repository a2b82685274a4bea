"""Positions that show what a graph is."""

from __future__ import annotations

import numpy as np
import pytest

from p2pdo.reporting.layout import Arc, positions


def both_ways(edges: list[Arc]) -> list[Arc]:
    return edges + [(j, i) for i, j in edges]


def grid(rows: int, columns: int) -> list[Arc]:
    cells = [(r, c) for r in range(rows) for c in range(columns)]
    right = [(r * columns + c, r * columns + c + 1) for r, c in cells if c + 1 < columns]
    down = [(r * columns + c, (r + 1) * columns + c) for r, c in cells if r + 1 < rows]
    return both_ways(right + down)


def nearest(places: np.ndarray) -> float:
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float(distances.min())


@pytest.mark.parametrize(
    "arcs",
    [
        [(i, (i + 1) % 8) for i in range(8)],
        [(i, j) for i in range(8) for j in range(8) if i != j],
        [(i, (i + k) % 8) for i in range(8) for k in (1, 2, 4)],
        [],
    ],
    ids=["directed ring", "complete", "exponential", "no arcs"],
)
def test_a_graph_that_looks_the_same_from_every_node_is_a_circle(arcs: list[Arc]) -> None:
    places = positions(8, arcs)
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1)
    np.testing.assert_allclose(places[[0, 2]], [[0, 1], [1, 0]], atol=1e-12)


def test_a_star_has_its_hub_in_the_middle() -> None:
    places = positions(6, both_ways([(2, i) for i in range(6) if i != 2]))
    np.testing.assert_array_equal(places[2], [0, 0])
    np.testing.assert_allclose(np.linalg.norm(np.delete(places, 2, axis=0), axis=1), 1)


def test_a_path_is_a_line_with_even_steps() -> None:
    places = positions(5, both_ways([(i, i + 1) for i in range(4)]))
    np.testing.assert_allclose(places[:, 1], 0, atol=1e-2)
    np.testing.assert_allclose(np.abs(np.diff(places[:, 0])), 0.5, atol=1e-2)


def test_a_grid_stands_upright() -> None:
    arcs = grid(4, 5)
    places = positions(20, arcs)
    steps = np.abs([places[j] - places[i] for i, j in arcs])
    assert (steps.min(axis=1) < 0.25 * steps.max(axis=1)).all()
    assert places[0, 0] < 0 < places[0, 1]


@pytest.mark.parametrize("n", [2, 3, 30, 100])
def test_no_two_nodes_of_a_random_graph_lie_on_each_other(n: int) -> None:
    rng = np.random.default_rng(0)
    path = [(i, i + 1) for i in range(n - 1)]
    chords = [(int(i), int(j)) for i, j in rng.integers(n, size=(2 * n, 2)) if i != j]
    places = positions(n, both_ways(path + chords))
    assert np.abs(places).max() <= 1 + 1e-12
    assert nearest(places) > 0.3 / n**0.5


def test_parts_that_are_not_connected_are_drawn_apart() -> None:
    places = positions(5, both_ways([(0, 1), (1, 2), (3, 4)]))
    assert np.isfinite(places).all()
    assert nearest(places) > 0.1


def test_the_same_graph_always_looks_the_same() -> None:
    np.testing.assert_array_equal(positions(12, grid(3, 4)), positions(12, grid(3, 4)))


def test_a_graph_too_large_to_be_legible_is_a_circle_at_once() -> None:
    places = positions(500, both_ways([(i, i + 1) for i in range(499)]))
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 1)


@pytest.mark.parametrize("n", [1, 2])
def test_the_smallest_networks_have_a_picture(n: int) -> None:
    places = positions(n, [(0, 1), (1, 0)] if n > 1 else [])
    np.testing.assert_allclose(places, [[0, 0]] if n == 1 else [[-1, 0], [1, 0]], atol=1e-12)
