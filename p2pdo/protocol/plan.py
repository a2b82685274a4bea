"""A plan: everything that a run of one algorithm needs, resolved and checked, before it runs.

Every local executor takes the same plan, so none of them can decide anything of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pdo.algorithms.base import Algorithm
from p2pdo.algorithms.catalogue import agrees_on_starts
from p2pdo.effects import freeze
from p2pdo.graphs.graph import Graph
from p2pdo.graphs.weights import Weights
from p2pdo.problems.base import Startable
from p2pdo.protocol.coding import NONE
from p2pdo.protocol.drops import Drops
from p2pdo.protocol.exchanging import Place
from p2pdo.protocol.settling import Settle
from p2pdo.seeded import uniform
from p2pdo.types import Array, NodeId, States

STARTS = ("zeros", "normal", "uniform")
UNIFORM_STREAM = 9


@dataclass(frozen=True, eq=False)
class Plan:
    """One run.

    Attributes:
        problems: node i's cost at index i.
        starts: node i's x⁰ of shape (d,) at index i; also one array (N, d).
        rounds: the iteration limit.
        observe_every: iterations between observations.
        codec: of what is mixed, as NAME[:NUMBER][,step=γ].
        tol: stop at the first observed iteration with max(gap, consensus error) ≤ tol.
        monitor_every: iterations between looks at what the method keeps; None: nobody looks.
        settle: stop where no node moves any more, as the nodes find out by themselves.
        drops: which values never arrive; the algorithm has to have a rule for it.
    """

    algorithm: Algorithm[Any]
    problems: Sequence[Any]
    graph: Graph
    weights: Weights
    starts: States
    rounds: int
    observe_every: int = 50
    tol: float | None = None
    seed: int = 0
    settle: Settle | None = None
    drops: Drops | None = None
    codec: str = NONE
    monitor_every: int | None = None

    @property
    def nodes(self) -> int:
        return self.graph.n

    def name(self, node: int) -> NodeId:
        return node_name(node)

    def boundary_after(self, iteration: int) -> int:
        """The next one that is observed."""
        return min((iteration // self.observe_every + 1) * self.observe_every, self.rounds)

    def place(self, node: int) -> Place:
        return Place(
            node,
            self.name(node),
            self.graph.in_neighbors(node),
            self.graph.out_neighbors(node),
            self.weights.row(node),
            {j: self.name(j) for j in self.graph.in_neighbors(node)},
            self.drops,
        )


def node_name(node: int) -> NodeId:
    """What a local run calls its nodes."""
    return NodeId(f"node-{node}")


def start_at(
    problem: Any, kind: str | None, algorithm: str, *, node: int, seed: int, dtype: str
) -> Array:
    """x⁰ of shape (d,): of the kind asked for, else the problem's own, else the algorithm's.

    What agrees on the starts has no use for one that all nodes bring alike.
    """
    is_apart = getattr(problem, "starts_apart", False) or not agrees_on_starts(algorithm)
    if kind is None and is_apart and isinstance(problem, Startable):
        return freeze(np.array(problem.initial(seed), dtype))
    return make_start(start_of(kind, algorithm), int(problem.dimension), node, seed, dtype)


def start_of(kind: str | None, algorithm: str) -> str:
    """The kind of start: what was asked for, or the algorithm's own default."""
    return kind or ("normal" if agrees_on_starts(algorithm) else "zeros")


def make_start(kind: str, dimension: int, node: int, seed: int, dtype: str) -> Array:
    """x⁰ of shape (d,): zeros, or random numbers that are a function of (seed, node)."""
    if kind == "zeros":
        x = np.zeros(dimension, dtype)
    elif kind == "uniform":
        x = uniform(seed, UNIFORM_STREAM, range(node, node + 1), dimension)[0].astype(dtype)
    else:
        x = np.random.default_rng([seed, 5, node]).standard_normal(dimension).astype(dtype)
    return freeze(x)


def make_starts(kind: str, nodes: int, dimension: int, seed: int, dtype: str) -> Array:
    """What `make_start` gives each node, as one frozen array (N, d)."""
    if kind == "zeros":
        x = np.zeros((nodes, dimension), dtype)
    elif kind == "uniform":
        x = uniform(seed, UNIFORM_STREAM, range(nodes), dimension).astype(dtype, copy=False)
    else:
        x = np.empty((nodes, dimension), dtype)
        for node in range(nodes):
            x[node] = make_start(kind, dimension, node, seed, dtype)
    x.flags.writeable = False
    return x


def dtype_of(problem: Any) -> str:
    """What x is where nobody said: of the dtype that the problem brings its start in."""
    return str(problem.dtype) if isinstance(problem, Startable) else "float64"
