"""Projections against what defines them, and constrained runs against their optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.errors import ConfigError
from p2pdo.problems import Affine, Ball, Box, Composite, Constrained, Distance, Halfspace

RNG = np.random.default_rng(3)
E = RNG.standard_normal((2, 4))
SETS: dict[str, tuple[Any, Any]] = {
    "box": (Box(-0.5, np.array([0.5, 1.0, 0.1, np.inf])), lambda x: np.clip(x, -0.5, 0.1)),
    "ball": (Ball(0.8, np.full(4, 0.1)), lambda x: 0.1 + 0.4 * x / np.linalg.norm(x)),
    "halfspace": (
        Halfspace(np.array([1.0, 2, 0, -1]), 0.3),
        lambda x: x - np.array([1.0, 2, 0, -1]) * (x @ [1.0, 2, 0, -1]) / 6,
    ),
    "affine": (
        Affine(E, np.ones(2)),
        lambda x: x + np.linalg.pinv(E) @ (np.ones(2) - E @ x),
    ),
}
every = pytest.mark.parametrize("name", sorted(SETS))


@every
def test_a_projection_is_in_the_set_and_nearest(name: str) -> None:
    within, member = SETS[name]
    for v in 2 * RNG.standard_normal((40, 4)):
        p = within.project(v)
        assert np.allclose(within.project(p), p, rtol=0, atol=1e-12)
        for x in RNG.standard_normal((20, 4)):  # (v − p)ᵀ(z − p) ≤ 0 for each z of the set
            z = member(x)
            assert np.allclose(within.project(z), z, rtol=0, atol=1e-12)
            assert (v - p) @ (z - p) <= 1e-12


@every
@pytest.mark.parametrize("algorithm", ["pg-extra", "prox-nids"])
def test_a_constrained_run_reaches_the_projection_of_the_mean(name: str, algorithm: str) -> None:
    within, _ = SETS[name]
    centres = 2 * RNG.standard_normal((5, 4))
    problems = [Constrained(Distance(c), within) for c in centres]
    assert isinstance(problems[0], Composite)
    result = p2pdo.run(
        problems, algorithm, rounds=400, parameters={"step_size": 0.5}, on="dense", topology="ring"
    )
    assert np.allclose(result.x, within.project(centres.mean(axis=0)), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Box(1.0, 0.0), "a box is empty"),
        (lambda: Ball(0.0), "radius must be positive"),
        (lambda: Halfspace(np.zeros(2), 1.0), "normal a is zero"),
        (lambda: Affine(np.ones((2, 2)), np.array([0.0, 1.0])), "no x has E x = e"),
    ],
)
def test_a_set_that_cannot_be_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
