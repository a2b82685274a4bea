"""What p2pdo is to reach, held against what was measured.

A target is a bound on a ratio of two contenders of one turn, or on a figure; met is what its median
keeps. Where one is missed, what is known of it is told below the table: why, and what was tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2pdo.benchmarks.spread import Spread, figure, in_words


@dataclass(frozen=True)
class Target:
    """One line.

    Attributes:
        group: of `REASONS`.
        what: a line's words.
        bound: the least, or with `is_most` the most.
        measured: turn by turn; None: not measured this time.
        cpu: CPU time of both, in words, where it is a ratio of rates.
    """

    group: str
    what: str
    bound: float
    measured: Spread | None
    cpu: str = "-"
    is_most: bool = False

    @property
    def is_met(self) -> bool | None:
        """Whether the median keeps the bound; None: not measured."""
        if self.measured is None:
            return None
        median = self.measured.median
        return median <= self.bound if self.is_most else median >= self.bound

    @property
    def verdict(self) -> str:
        return {True: "met", False: "**missed**", None: "not measured"}[self.is_met]

    def row(self) -> list[str]:
        sign = "≤" if self.is_most else "≥"
        told = [self.what, f"{sign} {figure(self.bound)}", in_words(self.measured)]
        return [*told, self.cpu, self.verdict]


COLUMNS = ("", "target", "measured", "CPU ms, p2pdo / other", "")

MPI, NVFLARE, GLOO, ONE_WAY = "mpi", "nvflare", "gloo", "one-way"
FULL, MEMORY, GRPC_MEMORY, IN_PROCESS, FLAT, ROUTER = (
    "full",
    "memory",
    "grpc-memory",
    "in-process",
    "flat",
    "router",
)

REASONS = {
    MPI: """
        Against MPI small values are lost in Python. Of a node-iteration the system's part, to
        sleep, to wake and to switch, is the smallest; the rest is Python's own calls, and most of
        what they take is waiting for memory, because six processes take turns on fewer cores and
        each finds the caches full of the others: alone on a core the same iteration takes a third
        to a half. MPI polls, in C, on memory that stays in the caches. Tried: giving way before a
        sleep, which costs half as much again beside other programs
        ([why](decisions/0020-a-wait-on-the-lane-sleeps.md)); looking at layouts once, comparing
        heads as words, sums of few entries without preallocation, which are in; and the lane, the
        stepper and what is exchanged compiled by mypyc, which spared a third where one process had
        the caches to itself and a tenth in the ring, and is not worth a compiler. At a million
        floats two thirds are the sum, in NumPy, and most of it is waiting for memory; to make it
        where it is sent from, without a copy, was a tenth at best
        ([why](decisions/0036-large-sums-are-copied-into-the-lane.md)).""",
    NVFLARE: """
        NVFlare's rate is that of its simulator, which relays each value through its server. Of
        large values both carry the bytes, so that memory bounds the ratio, as it does beside
        MPI.""",
    GLOO: """
        By gRPC a small value costs what `grpc.aio` takes for four operations, and about half as
        much again for frames, sessions and the step, in Python. Short steps need no hop to a thread
        any more ([why](decisions/0021-short-steps-share-the-loop.md)), frames of a turn of the loop
        are one write, and an acknowledgement travels with the next value. A large value is copied
        into gRPC's messages and out of them, on the loop's thread, where gloo reads a socket into
        the array; blocks put together in preallocated memory, and values that travel alone and
        aligned, are in. What would go further is a channel of our own beside gRPC, with framing,
        flow control and TLS of our own.""",
    ONE_WAY: """
        One way, a value goes about as fast as `grpc.aio` alone carries the same bytes, which stands
        in the table of one way: what is missing to a socket is gRPC's copies. A large value besides
        is cut, and put together again, on one thread.""",
    FULL: """
        Beside the recursion by hand, p2pdo's step makes new arrays where the hand writes over old
        ones, looks at each value for what is not finite before it is sent, checks what came against
        the own value's layout and tells counters. At small sizes it is the calls that count, at
        large ones the new arrays. A pure step cannot write over its state; steps that may are what
        would go further.""",
    MEMORY: """
        A node that has nothing to carry is Python, NumPy, gRPC and p2pdo's modules: the libraries
        alone are most of the 60 MB that the target leaves beside the values, and a half of it are
        pages that all nodes of a host share. What a run does not ask for is not imported
        ([how much](decisions/0037-a-node-imports-what-it-runs.md)). Tried: giving freed memory
        back, which is next to nothing. To read a child's flags without click would go further.""",
    GRPC_MEMORY: """
        By gRPC no value is kept longer than it is needed; what is beyond are gRPC's pieces under
        way, and holes that they leave in malloc's memory where values were. Tried: using blocks
        again, and mapping large values for themselves, neither of which was clearly better
        ([figures](decisions/0037-a-node-imports-what-it-runs.md)).""",
    IN_PROCESS: """
        In one process a node-iteration is a share of one step for all nodes, the gradients of each
        cost, and what is observed at the window's ends.""",
    FLAT: """
        In one process nodes take one step together, so a node-iteration gets cheaper with more of
        them: the figures are not flat because they rise, until gradients, which each cost is asked
        for by itself, are what is left.""",
    ROUTER: """
        The Lead Client keeps books that a router by hand has not: credit, what is to be reported at
        least once, supervised clients. Births and tasks without an event, a signature or a task of
        the loop for each are in, and a delivery of several tasks at once. The ratio is of two
        short loops and scatters more than others.""",
}
"""By group: what is told where one of its targets is missed. Without figures: these are above."""


def told(targets: Sequence[Target]) -> list[str]:
    """What is missed and why, a paragraph a group; nothing where all are met."""
    missed = dict.fromkeys(target.group for target in targets if target.is_met is False)
    return [" ".join(REASONS[group].split()) for group in missed]


def count(targets: Iterable[Target]) -> str:
    """How many of them are met, in words."""
    verdicts = [target.is_met for target in targets]
    met, missed, unknown = (verdicts.count(each) for each in (True, False, None))
    text = f"{met} of {met + missed} targets that were measured are met."
    return text if not unknown else f"{text} Not measured: {unknown}."
