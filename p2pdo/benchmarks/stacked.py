"""Very many nodes as stacked arrays, beside the same recursion written by hand in NumPy and SciPy.

What is compared is the iterations alone, in CPU time: the hand has the network, costs and starts
from p2pdo. How long these took to make is told beside it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from p2pdo.api.jobs import Job, resolve
from p2pdo.api.requests import Request
from p2pdo.benchmarks.processes import peak_memory
from p2pdo.benchmarks.spread import Spread, plain
from p2pdo.errors import ConfigError, MissingExtra, WorkloadFailed, did_you_mean
from p2pdo.problems.distance import Distance
from p2pdo.protocol.judging import Judge
from p2pdo.protocol.reports import states_of
from p2pdo.reporting.formats import plural
from p2pdo.simulation.stacked import run_stacked
from p2pdo.types import Array, Plain

STEP_SIZE = 0.1
CLOSE = 1e-9
"""By how much the two results may differ, in parts of the largest entry."""


@dataclass(frozen=True)
class Stacked:
    """What is asked for."""

    algorithm: str = "gradient-tracking"
    nodes: int = 100_000
    dimension: int = 100
    topology: str = "k-regular:4"
    rounds: int = 100
    repeat: int = 3

    def check(self) -> None:
        """Refuses what cannot be measured, before anything starts.

        Raises:
            ConfigError: with what to ask for instead.
            MissingExtra: SciPy is not installed.
        """
        if self.algorithm not in BY_HAND:
            raise ConfigError(
                f"nobody has written '{self.algorithm}' by hand here",
                hint=did_you_mean(self.algorithm, list(BY_HAND)),
            )
        for name in ("dimension", "rounds", "repeat"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is one or more", hint=f"--{name} 3")
        try:
            import scipy.sparse  # noqa: F401
        except ImportError:
            raise MissingExtra("the product by hand", "scipy", "data") from None


@dataclass
class Compared:
    """CPU seconds of p2pdo and of the hand, run by run, and what stood before them."""

    prepared: float = 0.0
    ours: list[float] = field(default_factory=list)
    by_hand: list[float] = field(default_factory=list)
    peak_mb: float | None = None

    @property
    def ratio(self) -> Spread | None:
        """p2pdo's time over the hand's, of runs that followed each other."""
        return Spread.of(a / b for a, b in zip(self.ours, self.by_hand, strict=True))

    def to_plain(self) -> dict[str, Plain]:
        return {
            "prepared_cpu_s": self.prepared,
            "cpu_s": plain(Spread.of(self.ours)),
            "by_hand_cpu_s": plain(Spread.of(self.by_hand)),
            "ratio": plain(self.ratio),
            "peak_memory_mb": self.peak_mb,
        }


def measure_stacked(asked: Stacked, tell: Callable[[str], None]) -> Compared:
    """Measures p2pdo and the hand in turn; `tell` hears how far it is.

    Raises:
        ConfigError: something does not fit.
        WorkloadFailed: the two did not compute the same.
    """
    asked.check()
    tell(f"{plural(asked.nodes, 'node')}: making the network, costs and starts")
    began = time.process_time()
    job = resolve(_request(asked))
    found = Compared(prepared=time.process_time() - began)
    hand, given = BY_HAND[asked.algorithm], _Given(job)
    for turn in range(1, asked.repeat + 1):
        ours, seconds = _timed(lambda: _run(job))
        found.ours.append(seconds)
        found.peak_mb = found.peak_mb or peak_memory([os.getpid()])
        theirs, seconds = _timed(lambda: hand(given))
        found.by_hand.append(seconds)
        _require_close(ours, theirs)
        ratio = found.ours[-1] / found.by_hand[-1]
        tell(
            f"run {turn} of {asked.repeat}: {found.ours[-1]:.3g} s, "
            f"by hand {found.by_hand[-1]:.3g} s, ratio {ratio:.3g}"
        )
    return found


def _request(asked: Stacked) -> Request:
    parameters: dict[str, Plain] = {"problem.dimension": asked.dimension}
    if asked.algorithm == "gradient-tracking":
        parameters["step_size"] = STEP_SIZE
    return Request(
        problem="averaging",
        algorithm=asked.algorithm,
        parameters=parameters,
        nodes=asked.nodes,
        topology=asked.topology,
        rounds=asked.rounds,
        observe_every=asked.rounds,
        start="uniform",
    )


def _run(job: Job) -> Array:
    """The iterations and the judgements of both ends, as in every run."""
    judge = Judge(job.objective, job.plan.nodes, None)
    reports = run_stacked(job.plan, judge, lambda _judgement: None)
    return np.asarray(states_of(reports))


def _timed(work: Callable[[], Array]) -> tuple[Array, float]:
    began = time.process_time()
    return work(), time.process_time() - began


class _Given:
    """What the hand starts from."""

    def __init__(self, job: Job) -> None:
        from scipy.sparse import csr_array

        weights = job.plan.weights
        parts = (weights.data, weights.indices, weights.indptr)
        self.W: Any = csr_array(parts, shape=(weights.n, weights.n))
        self.X = np.asarray(job.plan.starts)
        self.C = Distance.stack(list(job.plan.problems)).c
        self.rounds = job.plan.rounds
        self.owner, self.neighbor = job.plan.graph.edges.T
        rows, ones = np.arange(len(self.owner)), np.ones(len(self.owner))
        self.sums = csr_array((ones, (self.owner, rows)), shape=(weights.n, len(rows)))


def _consensus(given: _Given) -> Array:
    X = given.X
    for _ in range(given.rounds):
        X = given.W @ X
    return X


def _gradient_tracking(given: _Given) -> Array:
    W, C, X = given.W, given.C, given.X
    G = X - C
    Y = G
    for _ in range(given.rounds):
        X = W @ X - STEP_SIZE * Y
        G_new = X - C
        Y = W @ Y + G_new - G
        G = G_new
    return X


def _edge_admm(given: _Given) -> Array:
    """With ρ = 1 and relaxation ½; prox_{f/(ρ d)}(v) = (c + ρ d v) / (1 + ρ d)."""
    owner, neighbor, C = given.owner, given.neighbor, given.C
    reverse = np.lexsort((owner, neighbor))
    degree = np.bincount(owner, minlength=len(C))[:, None]
    Z, X = given.X[owner], given.X
    for _ in range(given.rounds):
        X = (C + given.sums @ Z) / (1 + degree)
        M = 2 * X[owner] - Z
        Z = (Z + M[reverse]) / 2
    return X


BY_HAND: Mapping[str, Callable[[_Given], Array]] = {
    "gradient-tracking": _gradient_tracking,
    "consensus": _consensus,
    "edge-admm": _edge_admm,
}


def _require_close(ours: Array, theirs: Array) -> None:
    if not np.allclose(ours, theirs, rtol=0, atol=CLOSE * float(np.abs(theirs).max())):
        raise WorkloadFailed(
            "p2pdo and the recursion by hand do not agree", hint="this is a bug: please report it"
        )
