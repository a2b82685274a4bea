"""Algorithms by name, their parameters, and the step sizes they are given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms import Consensus, Dgd, DgdCta, GradientTracking, GtAdam
from p2pdo.algorithms.catalogue import (
    ALGORITHMS,
    agrees_on_starts,
    build,
    find,
    name_of,
    needs_smoothness,
)
from p2pdo.errors import ConfigError
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import Weights, default
from p2pdo.protocol.plan import start_of
from p2pdo.types import Array


def test_every_name_finds_its_class_and_back() -> None:
    assert {"consensus", "dgd", "gradient-tracking", "gtadam"} <= set(ALGORITHMS)
    for name, cls in ALGORITHMS.items():
        assert find(name) is cls
        assert name_of(cls) == name
    with pytest.raises(ConfigError, match="unknown algorithm 'dgb'") as caught:
        find("dgb")
    assert "did you mean 'dgd'" in str(caught.value.hint)


@dataclass(frozen=True)
class Foreign(Consensus):
    flavour: str = "plain"
    count: int = 1
    lazy: bool = False
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Demanding(Consensus):
    rate: float
    step_size: float


def test_a_class_from_elsewhere_has_its_own_name() -> None:
    assert name_of(Foreign) == "Foreign"


def test_parameters_are_converted_to_what_the_fields_declare() -> None:
    assert build(Dgd, {"step_size": 1}) == Dgd(1.0)
    assert isinstance(build(Dgd, {"step_size": 1}).step_size, float)  # type: ignore[attr-defined]
    made = build(Foreign, {"flavour": "sour", "count": 2, "lazy": True, "shape": (1,)})  # type: ignore[dict-item]
    assert made == Foreign("sour", 2, True, (1,))


def test_a_missing_step_size_comes_from_the_smoothness() -> None:
    assert needs_smoothness(Dgd, {})
    assert not needs_smoothness(Dgd, {"step_size": 1.0})
    assert not needs_smoothness(GtAdam, {}), "it has a default"
    assert build(Dgd, {}, smoothness=4.0) == Dgd(0.25)
    assert build(Dgd, {}, smoothness=4.0, share=0.5) == Dgd(0.125)
    with pytest.raises(ConfigError, match="dgd needs a step size"):
        build(Dgd, {})


@pytest.mark.parametrize(
    ("cls", "parameters", "says"),
    [
        (Consensus, {"step_size": 1.0}, "consensus has no parameter 'step_size'"),
        (Dgd, {"stepsize": 1.0}, "dgd has no parameter 'stepsize'"),
        (Dgd, {"step_size": "1"}, "must be a number"),
        (Dgd, {"step_size": True}, "must be a number"),
        (Dgd, {"step_size": 0}, "positive number, got 0"),
        (Dgd, {"step_size": float("inf")}, "positive number, got inf"),
        (DgdCta, {"step_size": float("nan")}, "positive number, got nan"),
        (GradientTracking, {"step_size": 1, "tracker_start": "one"}, "unknown tracker_start"),
        (GradientTracking, {"step_size": 1, "tracker_start": 1}, "must be of type str"),
        (GtAdam, {"beta1": 1.0}, r"beta1 must lie in \[0, 1\)"),
        (GtAdam, {"beta2": -0.1}, r"beta2 must lie in \[0, 1\)"),
        (GtAdam, {"bound": 0.0}, "bound must be a positive number"),
        (GtAdam, {"epsilon": -1.0}, "epsilon must be a positive number"),
        (Foreign, {"count": 1.5}, "count must be of type int"),
        (Foreign, {"count": True}, "count must be of type int"),
        (Foreign, {"lazy": 1}, "lazy must be of type bool"),
        (Demanding, {"step_size": 1.0}, "missing 1 required positional argument: 'rate'"),
    ],
)
def test_a_wrong_parameter_is_refused_with_a_remedy(
    cls: type[Any], parameters: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        build(cls, parameters)
    assert caught.value.hint


# ---- the default step size is stable on quadratics ----


def modes_of(weights: Weights) -> Array:
    eigenvalues = np.linalg.eigvals(weights.to_dense())
    return np.delete(eigenvalues, np.argmax(eigenvalues.real))


def radius(cls: type[Any], W: Array, a: float) -> float:
    """Of one iteration with equal costs x²L/2 and α = a/L, apart from the agreed directions."""
    n = len(W)
    eye = np.eye(n)
    if cls is Dgd:
        return float(np.abs(np.linalg.eigvals(W - a * eye)).max())
    if cls is DgdCta:
        return float(np.abs(np.linalg.eigvals((1 - a) * W)).max())
    # (x, y/L) in gradient tracking: y⁺ = W y + x⁺ − x, so that Σ(y − x) stays what it was.
    X = np.block([W, -a * eye])
    Y = np.block([W - eye, W - a * eye])
    moving = np.sort(np.abs(np.linalg.eigvals(np.vstack([X, Y]))))
    return float(moving[-2])


@pytest.mark.parametrize("cls", [Dgd, DgdCta, GradientTracking])
@pytest.mark.parametrize(
    ("topology", "n"),
    [("ring", 1), ("ring", 2), ("ring", 8), ("directed-ring", 8), ("star", 9), ("path", 12)],
)
def test_the_safe_share_is_stable_on_equal_quadratics(
    cls: type[Any], topology: str, n: int
) -> None:
    weights = default(by_name(topology, n, np.random.default_rng(0)))
    share = cls.safe_share(modes_of(weights))
    assert 0 < share <= 1
    assert radius(cls, weights.to_dense(), share) < 1


def test_a_consensus_starts_where_nodes_differ_and_a_descent_where_they_do_not() -> None:
    agreeing = {name for name in ALGORITHMS if agrees_on_starts(name)}
    assert agreeing == {
        *("consensus", "max-consensus", "min-consensus", "push-sum", "masked-consensus"),
        *("fastmix", "chebyshev-gossip", "choco-gossip", "finite-time", "logic-and"),
        *("median-consensus", "trimmed-mean", "clipped-gossip"),
    }
    assert [start_of(None, name) for name in ("push-sum", "extra")] == ["normal", "zeros"]
    assert start_of("zeros", "push-sum") == "zeros"


def test_invariants_in_another_form_are_refused_where_the_class_is_made() -> None:
    with pytest.raises(ConfigError, match="the invariants of Mine are no tuple") as caught:
        type("Mine", (Consensus,), {"invariants": {"mean y = mean g": None}})
    assert "equal_means" in str(caught.value.hint)
