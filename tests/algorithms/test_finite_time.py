"""What finite-time consensus reaches in floating point, and where it decides nothing."""

from __future__ import annotations

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import Beer, FiniteTime, Motef
from p2pdo.algorithms.finite_time import limit_of
from p2pdo.data import catalogue
from p2pdo.errors import ConfigError
from p2pdo.types import Array


def ended(topology: str, n: int, rounds: int, start: Array, how: str = "finite-time") -> Array:
    result = p2pdo.run(
        "averaging",
        algorithm=how,
        nodes=n,
        topology=topology,
        rounds=rounds,
        start=start,
        parameters={"problem.dimension": start.shape[1]},
        on="dense",
    )
    return np.stack(result.states)


@pytest.mark.parametrize(
    ("topology", "n", "rounds", "error"),
    [
        ("ring", 8, 8, 1e-13),
        ("ring", 16, 16, 1e-10),
        ("ring", 24, 24, 1e-8),
        ("hypercube", 16, 8, 1e-13),
        ("star", 24, 5, 1e-11),
        ("path", 8, 14, 1e-10),
        ("directed-ring", 8, 14, 1e-12),
    ],
)
def test_it_ends_where_plain_consensus_has_hardly_begun(
    topology: str, n: int, rounds: int, error: float
) -> None:
    start = np.random.default_rng(3).standard_normal((n, 4))
    mean = start.mean(axis=0)
    assert np.abs(ended(topology, n, rounds, start) - mean).max() < error
    assert np.abs(ended(topology, n, rounds, start, "consensus") - mean).max() > 1e5 * error


def test_what_is_not_seen_at_first_is_waited_for() -> None:
    start = np.zeros((9, 1))
    start[0] = 1.0  # at node 8 nothing moves for eight iterations
    early = ended("path", 9, 15, start)
    assert np.array_equal(early, ended("path", 9, 15, start, "consensus"))
    assert np.abs(ended("path", 9, 20, start) - 1 / 9).max() < 1e-8


def test_where_rounding_hides_the_recurrence_it_stays_plain_consensus() -> None:
    start = np.random.default_rng(3).standard_normal((30, 1))
    X = ended("path", 30, 300, start)
    assert np.array_equal(X, ended("path", 30, 300, start, "consensus"))


def test_numbers_without_a_recurrence_have_no_limit() -> None:
    assert limit_of(np.random.default_rng(1).standard_normal((12, 1)), 1e-6) is None
    assert limit_of(np.full((5, 2), 7.0), 1e-6) is not None


def test_without_momentum_motef_is_beer() -> None:
    problems = catalogue.build_all("least-squares", 5)
    ends = [
        p2pdo.run(problems, algorithm=each, topology="ring", rounds=50, on="dense").states
        for each in (Motef(0.02, 1.0), Beer(0.02))
    ]
    assert np.array_equal(*map(np.stack, ends))


def test_what_is_asked_of_it_is_checked() -> None:
    with pytest.raises(ConfigError, match="accuracy must be a positive number"):
        FiniteTime(accuracy=0.0)
