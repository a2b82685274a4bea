"""The rules by which weights follow from a graph, by name.

`WEIGHTS` is the whole list; to add a rule, write its function and its line. All are vectorised;
those that look at eigenvalues say up to how many nodes they can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from p2pdo.errors import ConfigError, MissingExtra
from p2pdo.graphs.fastest import MOST_NODES as MOST_FASTEST, fastest
from p2pdo.graphs.graph import Graph
from p2pdo.graphs.schedules import active_links
from p2pdo.graphs.symmetry import by_symmetry
from p2pdo.graphs.weights import Weights, assemble, metropolis, push, uniform
from p2pdo.types import Array

DENSE = 1000  # nodes whose Laplacian is decomposed whole
TOLERANCE = 1e-8
RESTARTS = 3000


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table.

    Attributes:
        sums: which sums are one, in words.
        about: what a weight is.
        build_with: called with (graph, seed, the text behind the colon or None), where it may
            have one.
        example: such a text.
    """

    build: Callable[[Graph], Weights]
    sums: str
    about: str
    build_with: Callable[[Graph, int, str | None], Weights] | None = None
    example: str | None = None


def max_degree(graph: Graph) -> Weights:
    """wᵢⱼ = 1 / (1 + the largest degree), the rest on the diagonal; symmetric."""
    _require_undirected(graph, "max-degree")
    share = 1.0 / (1 + int(graph.in_degree.max()))
    return _symmetric(graph, np.full(len(graph.links), share))


def lazy(graph: Graph) -> Weights:
    """(I + W)/2, W metropolis: every node keeps half, and no eigenvalue is negative."""
    _require_undirected(graph, "lazy")
    W = metropolis(graph)
    is_diagonal = W.rows == W.indices
    return Weights(W.indptr, W.indices, np.where(is_diagonal, 0.5 + W.data / 2, W.data / 2))


def laplacian(graph: Graph) -> Weights:
    """I − α·L with the constant α = 2/(λ₂ + λₙ) that mixes fastest (Xiao & Boyd 2004, eq. 20).

    λ₂ and λₙ are the smallest and largest eigenvalues of the Laplacian L beside its 0.

    Raises:
        ConfigError: the graph is directed or not connected, or λ₂ of more than `DENSE` nodes was
            not found.
        MissingExtra: more than `DENSE` nodes, and SciPy is not installed.
    """
    _require_undirected(graph, "laplacian")
    if graph.n == 1:
        return metropolis(graph)
    if not graph.is_connected():
        raise ConfigError(
            "laplacian weights need a connected graph", hint="a topology such as ring"
        )
    smallest, largest = _laplacian_ends(graph)
    return _symmetric(graph, np.full(len(graph.links), 2 / (smallest + largest)))


def fastest_mixing(graph: Graph) -> Weights:
    """The symmetric weights of the smallest SLEM on this graph, found by optimisation.

    Fastest distributed linear averaging (Xiao & Boyd 2004, eq. 17): min ‖W − 11ᵀ/n‖₂ over
    symmetric W with rows that sum to one; a weight may be negative.

    Raises:
        ConfigError: the graph is directed or too large, or the solver found nothing.
        MissingExtra: cvxpy is not installed.
    """
    _require_undirected(graph, "fdla")
    if graph.n > MOST_FASTEST:
        raise ConfigError(
            f"fdla weights of {graph.n} nodes take too long: the program has n² entries",
            hint=f"at most {MOST_FASTEST} nodes, or --weights laplacian",
        )
    return _symmetric(graph, fastest(graph.n, graph.links))


def _active_links(graph: Graph, seed: int, text: str | None) -> Weights:
    try:
        p = 0.5 if text is None else float(text)
    except ValueError:
        raise ConfigError(
            f"the probability of an active link must be a number, got '{text}'",
            hint="active-links:0.5",
        ) from None
    _require_undirected(graph, "active-links")
    return active_links(graph, p, seed)


WEIGHTS: Mapping[str, Rule] = {
    "metropolis": Rule(metropolis, "doubly", "1 / (1 + the larger degree of both ends)"),
    "uniform": Rule(uniform, "rows", "1 / (1 + the number of nodes that are heard)"),
    "push": Rule(push, "columns", "1 / (1 + the number of nodes that the sender sends to)"),
    "max-degree": Rule(max_degree, "doubly", "1 / (1 + the largest degree of all)"),
    "lazy": Rule(lazy, "doubly", "half of metropolis, half kept: no negative eigenvalue"),
    "laplacian": Rule(laplacian, "doubly", "the best constant for all links, from eigenvalues"),
    "fdla": Rule(
        fastest_mixing,
        "doubly",
        f"optimised to mix fastest; up to {MOST_FASTEST} nodes, needs the extra 'fdla'",
    ),
    "active-links": Rule(
        lambda graph: _active_links(graph, 0, None),
        "doubly",
        "metropolis on links that are active at random in each iteration, 0 on others",
        build_with=_active_links,
        example="0.5",
    ),
}


def _symmetric(graph: Graph, shares: Array) -> Weights:
    """Weights of the links, equal at both ends, the rest on the diagonal."""
    low, high = graph.links.T
    given = np.bincount(low, weights=shares, minlength=graph.n)
    given += np.bincount(high, weights=shares, minlength=graph.n)
    rows, columns = np.r_[low, high], np.r_[high, low]
    return assemble(rows, columns, np.r_[shares, shares], diagonal=1.0 - given)


def _require_undirected(graph: Graph, rule: str) -> None:
    if graph.directed:
        raise ConfigError(
            f"{rule} weights need an undirected graph: both ends of a link use one weight",
            hint="--weights uniform, or an undirected topology such as ring",
        )


def _laplacian_ends(graph: Graph) -> tuple[float, float]:
    """(λ₂, λₙ)."""
    senders, receivers = graph.edges.T
    if graph.n <= DENSE:
        L = np.diag(graph.in_degree.astype(np.float64))
        L[receivers, senders] = -1
        eigenvalues = np.linalg.eigvalsh(L)
        return float(eigenvalues[1]), float(eigenvalues[-1])
    alike = by_symmetry([max_degree(graph)])
    if alike is not None:  # of I − L/(1 + the largest degree), beside the 1 that comes first
        ends = (1 - np.delete(alike.real, 0)) * (1 + int(graph.in_degree.max()))
        return float(ends.min()), float(ends.max())
    try:
        from scipy.sparse import csr_array, linalg
    except ImportError:
        raise MissingExtra(f"the Laplacian of {graph.n} nodes", "scipy", "data") from None
    links = csr_array((np.ones(len(senders)), (receivers, senders)), shape=(graph.n, graph.n))
    degree = graph.in_degree
    bound = 2.0 * float(degree.max())  # no eigenvalue of L is larger
    start = np.random.default_rng(0).standard_normal(graph.n)
    options = {
        "k": 1,
        "v0": start - start.mean(),
        "which": "LA",
        "tol": TOLERANCE,
        "maxiter": RESTARTS,
        "return_eigenvectors": False,
    }

    def of_laplacian(x: Array) -> Array:
        image: Array = degree * x.ravel() - links @ x.ravel()
        return image

    def turned(x: Array) -> Array:
        """bound·I − L without the eigenvector 1: its largest eigenvalue is bound − λ₂."""
        x = x.ravel() - x.mean()
        image: Array = bound * x - of_laplacian(x)
        image -= image.mean()
        return image

    shape, dtype = (graph.n, graph.n), np.dtype(np.float64)
    try:
        largest = linalg.eigsh(linalg.LinearOperator(shape, of_laplacian, dtype=dtype), **options)
        rest = linalg.eigsh(linalg.LinearOperator(shape, turned, dtype=dtype), **options)
    except linalg.ArpackNoConvergence:
        raise ConfigError(
            f"the eigenvalues of this Laplacian on {graph.n} nodes were not found",
            hint="--weights metropolis or max-degree, which need none",
        ) from None
    return bound - float(rest[0]), float(largest[0])
