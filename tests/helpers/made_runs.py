"""Run folders with figures of a test's choosing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from p2pdo.protocol.counting import Calls
from p2pdo.reporting.comparing.folder import ComparisonFolder
from p2pdo.reporting.records import Metric, Summary
from p2pdo.reporting.run_folder import RunFolder

EVERY = 10
SETTINGS = {
    "problem": "quadratic",
    "nodes": 4,
    "topology": "ring",
    "executor": "dense",
    "observe_every": EVERY,
    "tol": 1e-4,
}


def metric(k: int, gap: float | None, error: float | None = None) -> Metric:
    """Observation k: 4 gradients, 8 messages and 80 bytes an iteration, a second for ten."""
    i = EVERY * k
    error = gap if error is None else error
    return Metric(i, float(k), gap, error, gap, 80 * i, 8 * i, calls=Calls(4.0 * i))


def make_run(
    path: Path,
    algorithm: str,
    gaps: Sequence[float | None],
    *,
    seed: int = 0,
    failed: dict[str, Any] | None = None,
    ended: bool = True,
    **settings: Any,
) -> None:
    """A run that was observed with these gaps; the consensus error is the same."""
    path.mkdir(parents=True)
    with RunFolder(path) as folder:
        folder.write_settings({**SETTINGS, "algorithm": algorithm, "seed": seed, **settings})
        for k, gap in enumerate(gaps):
            folder.append_metric(metric(k, gap))
        if failed is not None:
            folder.append_event("failed", seconds=1.0, **failed)
        elif ended:
            folder.write_summary(_summary(algorithm, gaps))


def make_comparison(path: Path, runs: dict[str, list[dict[str, Any]]]) -> Path:
    """A comparison of these trials; {} is one that has not begun."""
    folder = ComparisonFolder(path)
    trials = max(len(one) for one in runs.values())
    folder.begin(
        {
            "executor": "dense",
            "trials": trials,
            "settings": {"seed": 5},
            "algorithms": {label: {"name": label, "parameters": {}} for label in runs},
        }
    )
    for label, made in runs.items():
        for number, run in enumerate(made):
            if run:
                make_run(folder.trial(label, number), label, seed=5 + number, **run)
    return path


def _summary(algorithm: str, gaps: Sequence[float | None]) -> Summary:
    last = gaps[-1]
    return Summary(
        workload_id="w",
        status="done",
        problem="quadratic",
        algorithm=algorithm,
        topology="ring",
        nodes=4,
        executor="dense",
        iterations=EVERY * (len(gaps) - 1),
        gap=last,
        consensus_error=last,
        value=last,
        optimum=0.0,
        distance_to_optimum=None,
        bytes_sent=0,
        messages_sent=0,
        seconds=1.0,
        run_dir=None,
        state_sha256=None,
    )
