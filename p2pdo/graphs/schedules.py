"""Weights that vary with the iteration: cycles of matrices, and links that are active at random.

W(k) is iteration k's matrix. All of them live on one graph, the union of theirs, so the links
stay open and every value is sent over every link; a weight that is zero takes nothing of it. As a
`Weights` such a schedule is its mean matrix, whose support is the union: what is connected there is
connected over time.

W(k) is a function of k, and for random links of the seed and the link: a node needs nobody to know
its own row, and all executors have the same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from p2pdo.effects import Row
from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph, require_nodes
from p2pdo.graphs.weights import Weights, assemble, from_entries, metropolis
from p2pdo.seeded import unit_of_keys
from p2pdo.types import Array, Plain

LINK_STREAM = 10


@dataclass(frozen=True)
class CyclicRow(Row):
    """A node's rows, one an iteration, from the first again after the last."""

    varies: ClassVar[bool] = True
    phases: tuple[Row, ...] = ()

    def at(self, iteration: int) -> Row:
        return self.phases[iteration % len(self.phases)]

    def to_plain(self) -> Plain:
        phases: list[Plain] = [_plain(row) for row in self.phases]
        return {"cycle": phases}


@dataclass(frozen=True)
class ActiveRow(Row):
    """A node's row where each of its links is active with probability p in an iteration.

    `base` is the row with all links active; what inactive links would take stays with the node.
    """

    varies: ClassVar[bool] = True
    node: int = 0
    p: float = 1.0
    seed: int = 0
    base: Row = field(default_factory=lambda: Row(()))

    def at(self, iteration: int) -> Row:
        others = [(j, w) for j, w in self.base.entries if j != self.node]
        ends = np.array([sorted((self.node, j)) for j, _ in others], np.uint64).reshape(-1, 2)
        active = _active(ends[:, 0], ends[:, 1], self.p, self.seed, iteration).tolist()
        kept = [entry for entry, is_active in zip(others, active, strict=True) if is_active]
        given = 0.0
        for _, w in kept:
            given += w
        return Row(tuple(sorted([*kept, (self.node, 1.0 - given)])))

    def to_plain(self) -> Plain:
        told: dict[str, Plain] = {"node": self.node, "p": self.p, "seed": self.seed}
        return {"active": {**told, "base": _plain(self.base)}}


def row_from_plain(entries: Any, varying: Any) -> Row:
    """The row of these entries; where `varying` is given, the schedule that it spells."""
    mean = _entries(entries)
    if varying is None:
        return Row(mean)
    if "cycle" in varying:
        return CyclicRow(mean, phases=tuple(Row(_entries(row)) for row in varying["cycle"]))
    told = varying["active"]
    base = Row(_entries(told["base"]))
    return ActiveRow(mean, node=told["node"], p=told["p"], seed=told["seed"], base=base)


def _plain(row: Row) -> list[Plain]:
    return [[j, w] for j, w in row.entries]


def _entries(plain: Any) -> tuple[tuple[int, float], ...]:
    return tuple((j, weight) for j, weight in plain)


@dataclass(frozen=True, eq=False)
class Cycle(Weights):
    """W(k) = phases[k mod T]; as a `Weights` it is their mean."""

    varies: ClassVar[bool] = True
    phases: tuple[Weights, ...] = ()

    def at(self, iteration: int) -> Weights:
        return self.phases[iteration % len(self.phases)]

    def row(self, i: int) -> Row:
        rows = tuple(phase.row(i) for phase in self.phases)
        return CyclicRow(super().row(i).entries, phases=rows)

    def samples(self) -> Sequence[Weights]:
        return self.phases

    def digest(self) -> bytes:
        content = hashlib.sha256(b"p2pdo cycle 1\n")
        for phase in self.phases:
            content.update(phase.digest())
        return content.digest()


@dataclass(frozen=True, eq=False)
class ActiveLinks(Weights):
    """Metropolis weights of the links that are active in an iteration, each with probability p.

    Every W(k) is symmetric and doubly stochastic; as a `Weights` it is the expected matrix.
    """

    varies: ClassVar[bool] = True
    p: float = 1.0
    seed: int = 0
    base: Weights | None = None

    def at(self, iteration: int) -> Weights:
        W = self.base
        assert W is not None
        off = W.rows != W.indices
        rows, columns, data = W.rows[off], W.indices[off], W.data[off]
        low, high = np.minimum(rows, columns), np.maximum(rows, columns)
        ends = low.astype(np.uint64), high.astype(np.uint64)
        active = _active(*ends, self.p, self.seed, iteration)
        rows, columns, data = rows[active], columns[active], data[active]
        given = np.bincount(rows, weights=data, minlength=W.n)
        return assemble(rows, columns, data, diagonal=1.0 - given)

    def row(self, i: int) -> Row:
        assert self.base is not None
        mean = super().row(i).entries
        return ActiveRow(mean, node=i, p=self.p, seed=self.seed, base=self.base.row(i))

    def samples(self) -> Sequence[Weights]:
        return (self.at(0),)

    def digest(self) -> bytes:
        told = f"p2pdo active links 1\n{self.p!r} {self.seed}\n".encode()
        return hashlib.sha256(told + super().digest()).digest()


def _active(low: Array, high: Array, p: float, seed: int, iteration: int) -> Array:
    """Which of the links (low, high) are active: a function of each and no other."""
    keys = low << np.uint64(32) | high
    active: Array = unit_of_keys(keys, (seed, LINK_STREAM, iteration)) < p
    return active


def cycle(phases: Sequence[Weights]) -> Cycle:
    """The schedule that repeats these matrices.

    Raises:
        ConfigError: there is none, or they differ in their number of nodes.
    """
    if not phases:
        raise ConfigError("a cycle of weights is empty", hint="give one matrix or more")
    n = phases[0].n
    if any(phase.n != n for phase in phases):
        raise ConfigError(
            "the matrices of a cycle differ in their number of nodes", hint="one row per node"
        )
    keys = np.concatenate([phase.keys for phase in phases])
    data = np.concatenate([phase.data for phase in phases]) / len(phases)
    places, entry = np.unique(keys, return_inverse=True)
    rows, columns = np.divmod(places, n)
    mean = from_entries(n, rows, columns, np.bincount(entry, weights=data))
    return Cycle(mean.indptr, mean.indices, mean.data, phases=tuple(phases))


def one_peer_exponential(n: int) -> Cycle:
    """W(k) averages node i with node i − 2ᵗ mod n, t = k mod ⌈log₂ n⌉: one message a node.

    Doubly stochastic. Where n is a power of two, ⌈log₂ n⌉ iterations make the exact mean (Ying et
    al. 2021, *Exponential graph is provably efficient for decentralized deep training*, lemma 1).
    """
    require_nodes(n)
    i = np.arange(n)
    phases = []
    for t in range(max(1, (n - 1).bit_length())):
        sender = (i - (1 << t)) % n
        other = sender != i
        diagonal = np.where(other, 0.5, 1.0)
        phases.append(assemble(i[other], sender[other], np.full(int(other.sum()), 0.5), diagonal))
    return cycle(phases)


def active_links(graph: Graph, p: float, seed: int) -> ActiveLinks:
    """Metropolis weights of the links that are active, each with probability p an iteration.

    Raises:
        ConfigError: the graph is directed, or p is not in (0, 1].
    """
    if not 0 < p <= 1:
        raise ConfigError(
            f"the probability of an active link must lie in (0, 1], got {p}",
            hint="--weights active-links:0.5",
        )
    base = metropolis(graph)
    off = base.rows != base.indices
    mean = np.where(off, p * base.data, 1 - p * (1 - base.data))
    return ActiveLinks(base.indptr, base.indices, mean, p=p, seed=seed, base=base)
