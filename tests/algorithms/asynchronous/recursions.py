"""The papers' recursions along a given order of events, in plain NumPy.

Each yields X of shape (n, d) after every event and shares no code with the library: what a message
carries is looked up in the history of its sender, by its number. Numbers count what a node sent on
one edge, from one on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from p2pdo.algorithms import (
    AdPsgd,
    AsynchronousConsensus,
    AsySonata,
    BroadcastGossip,
    RandomizedGossip,
    RobustPushSum,
)
from p2pdo.simulation.asynchronous import Event
from p2pdo.testing.laws import AsynchronousCase, AsynchronousRecursion, Dense
from p2pdo.types import Array


def robust_push_sum(dense: Dense, events: Iterable[Event]) -> Iterator[Array]:
    """Hadjicostis, Vaidya & Domínguez-García (2016): σ and ρ for each node and edge, of (u, w)."""
    n = dense.n
    held = np.hstack([dense.X, np.ones((n, 1))])
    X = dense.X.copy()
    sums = [[np.zeros_like(held[0])] for _ in range(n)]  # σ after each wake-up, to every neighbour
    taken = np.zeros((n, n), int)  # [i, j]: the newest number of j that i took
    degrees = dense.hears.sum(axis=0)
    for event in events:
        i, j = event.node, event.sender
        if event.what == "wake":
            held[i] /= 1 + degrees[i]
            sums[i].append(sums[i][-1] + held[i])
        elif event.what == "arrival" and event.number > taken[i, j]:
            held[i] += sums[j][event.number] - sums[j][taken[i, j]]
            taken[i, j] = event.number
            X[i] = held[i, :-1] / held[i, -1]
        yield X


def asy_sonata(step_size: float) -> AsynchronousRecursion:
    """Tian, Sun & Scutari (2020), algorithm 2: buffers v and ρ̃ of each edge, read at wake-ups."""

    def recursion(dense: Dense, events: Iterable[Event]) -> Iterator[Array]:
        n = dense.n
        X, G = dense.X.copy(), dense.gradient(dense.X)
        Z = G.copy()
        V: list[list[Array]] = [[np.zeros_like(X[0])] for _ in range(n)]
        rho = [[np.zeros_like(X[0])] for _ in range(n)]
        here = np.zeros((n, n), int)  # the newest number that is here
        used = np.zeros((n, n), int)  # the newest that the tracker has seen
        for event in events:
            i = event.node
            if event.what == "arrival":
                here[i, event.sender] = max(here[i, event.sender], event.number)
            elif event.what == "wake":
                hears = np.flatnonzero(dense.hears[i])
                v = X[i] - step_size * Z[i]
                heard = {j: V[j][here[i, j]] if here[i, j] else dense.X[i] for j in hears}
                X[i] = dense.W[i, i] * v + sum(dense.W[i, j] * heard[j] for j in hears)
                g = dense.costs[i].gradient(X[i])
                arrived = sum(rho[j][here[i, j]] - rho[j][used[i, j]] for j in hears)
                halfway = Z[i] + arrived + g - G[i]
                used[i], G[i], Z[i] = here[i], g, dense.B[i, i] * halfway
                rho[i].append(rho[i][-1] + dense.B[i, i] * halfway)  # aⱼᵢ is aᵢᵢ for each j
                V[i].append(v)
            yield X

    return recursion


def asynchronous_consensus(dense: Dense, events: Iterable[Event]) -> Iterator[Array]:
    """Bertsekas & Tsitsiklis (1989): x_i(t + 1) = Σⱼ wᵢⱼ xⱼ(τᵢⱼ(t))."""
    X = dense.X.copy()
    sent = [[x.copy()] for x in X]
    here = np.zeros((dense.n, dense.n), int)
    for event in events:
        i = event.node
        if event.what == "arrival":
            here[i, event.sender] = max(here[i, event.sender], event.number)
        elif event.what == "wake":
            hears = np.flatnonzero(dense.hears[i])
            heard = [sent[j][here[i, j]] if here[i, j] else dense.X[i] for j in hears]
            X[i] = dense.W[i, i] * X[i] + sum(
                dense.W[i, j] * x for j, x in zip(hears, heard, strict=True)
            )
            sent[i].append(X[i].copy())
        yield X


def broadcast_gossip(kept: float) -> AsynchronousRecursion:
    """Aysal et al. (2009), each copy heard once and in order."""

    def recursion(dense: Dense, events: Iterable[Event]) -> Iterator[Array]:
        X = dense.X.copy()
        sent = [[x.copy()] for x in X]
        newest = np.zeros((dense.n, dense.n), int)
        for event in events:
            i, j = event.node, event.sender
            if event.what == "wake":
                sent[i].append(X[i].copy())
            elif event.what == "arrival" and event.number > newest[i, j]:
                X[i] = kept * X[i] + (1 - kept) * sent[j][event.number]
                newest[i, j] = event.number
            yield X

    return recursion


class Talk:
    """What one node said to another: every message with its question, answer and sum, in order."""

    def __init__(self, d: int) -> None:
        self.said = [(0, np.zeros(d), 0, np.zeros(d))]  # question, x, answered, σ
        self.heard = 0  # the newest number that arrived

    def say(self, question: int, x: Array, answered: int, flow: Array) -> None:
        self.said.append((question, x.copy(), answered, self.said[-1][3] + flow))


def one_of(neighbors: Array, dice: np.random.Generator) -> int | None:
    return int(neighbors[dice.integers(len(neighbors))]) if len(neighbors) else None


def pairwise(step_size: float) -> AsynchronousRecursion:
    """Boyd et al. (2006), Lian et al. (2018): a conversation of questions and answers."""

    def recursion(dense: Dense, events: Iterable[Event]) -> Iterator[Array]:
        n, d = dense.X.shape
        X, nothing = dense.X.copy(), np.zeros(d)
        talks = {(i, j): Talk(d) for i in range(n) for j in range(n)}
        asks: list[int | None] = [None] * n
        questions, wakes = [0] * n, [0] * n
        steps = [nothing] * n
        settled = np.zeros((n, n), int)  # [i, j]: the last question of j that i answered
        for event in events:
            i, j = event.node, event.sender
            if event.what == "wake":
                if asks[i] is None:
                    steps[i] = -step_size * dense.costs[i].gradient(X[i]) if step_size else nothing
                    asks[i] = one_of(np.flatnonzero(dense.hears[i]), dense.dice(i, wakes[i]))
                    questions[i] += 1
                partner = asks[i]
                if partner is None:  # alone
                    X[i] += steps[i]
                else:
                    talks[i, partner].say(questions[i], X[i], settled[i, partner], nothing)
                wakes[i] += 1
            elif event.what == "arrival" and event.number > talks[j, i].heard:
                talk = talks[j, i]
                question, x, answered, total = talk.said[event.number]
                X[i] += total - talk.said[talk.heard][3]
                talk.heard = event.number
                if asks[i] == j and answered == questions[i]:
                    X[i] += steps[i]
                    asks[i] = None
                if question:
                    flow = nothing
                    if question > settled[i, j]:
                        settled[i, j] = question
                        flow = (X[i] - x) / 2 if asks[i] is None else nothing
                        X[i] -= flow
                    open_question = questions[i] if asks[i] == j else 0
                    talks[i, j].say(open_question, X[i], question, flow)
            yield X

    return recursion


CASES = [
    AsynchronousCase(AsynchronousConsensus(), asynchronous_consensus, rounds=1500, within=1e-9),
    AsynchronousCase(BroadcastGossip(0.4), broadcast_gossip(0.4), rounds=1500, within=1e-9),
    AsynchronousCase(RandomizedGossip(), pairwise(0.0), rounds=3000, within=1e-9),
    AsynchronousCase(RobustPushSum(), robust_push_sum, rounds=800, within=1e-10),
    AsynchronousCase(AdPsgd(0.05), pairwise(0.05), rounds=400),
    AsynchronousCase(AsySonata(0.05), asy_sonata(0.05), share=0.5, rounds=4000, within=1e-5),
]
