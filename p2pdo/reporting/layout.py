"""Layout. Where the nodes of a graph are drawn: plain numbers in, positions out.

Three cases, the clearest first. A graph that looks the same from every node (ring, complete,
exponential: turning it by one node maps it onto itself) is drawn on a circle, clockwise from the
top. A star is drawn as one. Everything else gets positions whose distances are as close to the
numbers of hops as a plane allows: classical scaling for a start, then stress majorization
(Gansner, Koren & North 2004), which keeps paths, grids and clusters recognisable; then the whole
is turned so that a grid stands upright, and nodes that lie on each other are moved apart. No step
is random, so a graph always looks the same.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.float64]
Arc = tuple[int, int]

_SWEEPS = 200
_SETTLED = 1e-3  # hops
_AGREEMENT = 0.6  # of the edges' directions, from 0 to 1, before a layout is turned to them
_MOST = 250  # nodes; beyond it nothing is legible and the circle is at least quick


def positions(n: int, arcs: Collection[Arc]) -> Positions:
    """One row (x, y) per node, within the unit square around the origin or close to it."""
    if n > _MOST or _is_circulant(n, arcs):
        return circle(n)
    hub = _hub_of_a_star(n, arcs)
    if hub is not None:
        return _star(n, hub)
    places = _unit(_turned(_stress(_hops(n, arcs)), arcs))
    return _unit(_apart(_mirrored(places), arcs))


def circle(n: int) -> Positions:
    """Node 0 at the top, the others clockwise; one in the middle, two side by side."""
    if n == 1:
        return np.zeros((1, 2))
    top = np.pi if n == 2 else np.pi / 2  # noqa: PLR2004 - a pair
    angle = top - 2 * np.pi * np.arange(n) / n
    return np.column_stack([np.cos(angle), np.sin(angle)])


def _is_circulant(n: int, arcs: Collection[Arc]) -> bool:
    known = set(arcs)
    return all(((i + 1) % n, (j + 1) % n) in known for i, j in known)


def _hub_of_a_star(n: int, arcs: Collection[Arc]) -> int | None:
    edges = {frozenset(arc) for arc in arcs}
    if n < 3 or len(edges) != n - 1:  # noqa: PLR2004 - a pair has no middle
        return None
    common = frozenset(range(n)).intersection(*edges)
    return min(common, default=None)


def _star(n: int, hub: int) -> Positions:
    places = np.zeros((n, 2))
    places[np.arange(n) != hub] = circle(n - 1)
    return places


def _hops(n: int, arcs: Collection[Arc]) -> npt.NDArray[np.float64]:
    """Hops between nodes, arcs taken in both directions; parts are set one hop too far apart."""
    near = np.zeros((n, n), dtype=bool)
    for i, j in arcs:
        near[i, j] = near[j, i] = True
    hops = np.full((n, n), np.inf)
    reached = np.eye(n, dtype=bool)
    hops[reached] = 0
    for distance in range(1, n):
        frontier = (reached.astype(np.float32) @ near.astype(np.float32) > 0) & ~reached
        if not frontier.any():
            break
        hops[frontier] = distance
        reached |= frontier
    hops[np.isinf(hops)] = hops[np.isfinite(hops)].max() + 1
    return hops


def _scaled(hops: npt.NDArray[np.float64]) -> Positions:
    """Classical scaling: the two leading axes of the doubly centred squared distances."""
    centred = hops**2 - (hops**2).mean(axis=0)
    gram = -0.5 * (centred - centred.mean(axis=1, keepdims=True))
    values, vectors = np.linalg.eigh((gram + gram.T) / 2)
    leading: Positions = vectors[:, -2:][:, ::-1] * np.sqrt(np.maximum(values[-2:][::-1], 0))
    return leading


def _stress(hops: npt.NDArray[np.float64]) -> Positions:
    """Minimise Σ wᵢⱼ (‖pᵢ − pⱼ‖ − hopsᵢⱼ)², w = hops⁻², by repeated majorization."""
    n = len(hops)
    apart = ~np.eye(n, dtype=bool)
    weights = np.divide(1.0, hops**2, out=np.zeros_like(hops), where=apart)
    inverse = np.linalg.pinv(np.diag(weights.sum(axis=1)) - weights)
    places = _scaled(hops) + 1e-3 * circle(n)  # twins that scaling puts in one place part
    for _ in range(_SWEEPS):
        distances = np.linalg.norm(places[:, None] - places[None], axis=2)
        pull = np.divide(weights * hops, distances, out=np.zeros_like(hops), where=distances > 0)
        before, places = places, inverse @ (np.diag(pull.sum(axis=1)) - pull) @ places
        if np.abs(places - before).max() < _SETTLED:
            break
    return places


def _turned(places: Positions, arcs: Collection[Arc]) -> Positions:
    """Along its long axis; where most edges agree on two directions, along these."""
    places = places - places.mean(axis=0)
    _, _, axes = np.linalg.svd(places, full_matrices=False)
    places = places @ axes.T
    edges = np.array([places[j] - places[i] for i, j in arcs])
    direction = np.mean(np.exp(4j * np.arctan2(edges[:, 1], edges[:, 0])))  # equal at right angles
    if abs(direction) < _AGREEMENT:
        return places
    angle = -np.angle(direction) / 4
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned: Positions = places @ turn
    return turned


def _mirrored(places: Positions) -> Positions:
    """Node 0 left and up: nothing else in the distances tells a layout from its mirror images."""
    mirrored: Positions = places * np.where(places[0] * (-1, 1) < 0, -1.0, 1.0)
    return mirrored


def _apart(places: Positions, arcs: Collection[Arc]) -> Positions:
    """Push apart what is nearer than the page's share of a node, and than most edges are long."""
    lengths = [np.linalg.norm(places[j] - places[i]) for i, j in arcs]
    least = min(1.3 / len(places) ** 0.5, 0.7 * float(np.median(lengths)))
    for _ in range(_SWEEPS):
        offsets = places[:, None] - places[None]
        distances = np.linalg.norm(offsets, axis=2)
        missing = np.where((distances > 0) & (distances < least), least - distances, 0.0)
        if not missing.any():
            break
        push = np.divide(missing, distances, out=missing, where=distances > 0)
        places = places + 0.25 * (push[:, :, None] * offsets).sum(axis=1)
    return places


def _unit(places: Positions) -> Positions:
    """Centred, and as large as the unit square allows."""
    places = places - (places.max(axis=0) + places.min(axis=0)) / 2
    extent = np.abs(places).max()
    return places / extent if extent > 0 else places
