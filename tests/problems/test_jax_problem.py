"""JAX costs against NumPy and finite differences; pytrees, keys and precision."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from p2pdo.effects import Here
from p2pdo.errors import ConfigError, MissingExtra, WorkloadFailed
from p2pdo.problems import Gradient, JaxProblem, Startable, StochasticGradient
from p2pdo.types import Array

jax = pytest.importorskip("jax")
jnp = jax.numpy

RNG = np.random.default_rng(0)
INPUTS, TARGETS = RNG.standard_normal((12, 3)), RNG.standard_normal(12)
TREE = {"bias": np.array(0.1), "weights": np.array([0.3, -0.2, 0.5])}
X = np.array([0.1, 0.3, -0.2, 0.5])  # a dict's leaves are in the order of its keys


def squares(params: Any, batch: Any) -> Any:
    inputs, targets = batch
    return jnp.mean((inputs @ params["weights"] + params["bias"] - targets) ** 2)


def noisy(params: Any, batch: Any, key: Any) -> Any:
    inputs, targets = batch
    if key is not None:
        inputs = inputs * jax.random.bernoulli(key, 0.5, inputs.shape)
    return squares(params, (inputs, targets))


def random_tree(key: Any) -> Any:
    return {"bias": jnp.zeros(()), "weights": jax.random.normal(key, (3,))}


def made(loss: Callable[..., Any] = squares, **changes: Any) -> JaxProblem:
    settings = {"init": TREE, "data": (INPUTS, TARGETS), "batch_size": 4, "precision": "float64"}
    return JaxProblem(loss, **{**settings, **changes})


def here(iteration: int = 0, node: int = 0, seed: int = 0) -> Here:
    return Here(iteration, node, (), (), seed)


def expected_gradient() -> Array:
    rest = INPUTS @ X[1:] + X[0] - TARGETS
    return 2 * np.append(rest.sum(), rest @ INPUTS) / 12


def test_least_squares_in_jax_is_least_squares_in_numpy() -> None:
    p = made()
    assert p.value(X) == pytest.approx(np.mean((INPUTS @ X[1:] + X[0] - TARGETS) ** 2), rel=1e-14)
    np.testing.assert_allclose(p.gradient(X), expected_gradient(), rtol=1e-13)
    assert all(isinstance(p, oracle) for oracle in (Gradient, StochasticGradient, Startable))


def test_float64_is_used_only_where_it_was_asked_for() -> None:
    p = made(precision="float32")
    assert p.dtype == p.initial(0).dtype == np.float32
    g = p.gradient(X)
    assert g.dtype == np.float64
    error = np.abs(g - expected_gradient()).max()
    assert 1e-9 < error < 1e-5
    made().gradient(X)
    assert jnp.ones(1).dtype == np.float32, "the process keeps its own setting"


@pytest.mark.parametrize("loss", [squares, noisy])
def test_a_mini_batchs_gradient_is_its_slope(loss: Callable[..., Any]) -> None:
    batch, h = made(loss).at(here(3)), 1e-6
    slopes = [(batch.value(X + h * e) - batch.value(X - h * e)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(batch.gradient(X), slopes, rtol=1e-6, atol=1e-8)


def test_a_mini_batch_is_a_function_of_seed_node_and_iteration() -> None:
    p, again = made(noisy), made(noisy)
    places = [here(k, node, seed) for k in range(3) for node in range(3) for seed in range(2)]
    forth = [p.at(place).gradient(X).tobytes() for place in places]
    back = [again.at(place).gradient(X).tobytes() for place in reversed(places)]
    assert forth == back[::-1]
    assert len(set(forth)) == len(places)


def test_the_whole_gets_no_key() -> None:
    np.testing.assert_array_equal(made(noisy).gradient(X), made(squares).gradient(X))


def test_the_start_is_the_pytree_or_what_init_makes_of_the_seed() -> None:
    np.testing.assert_array_equal(made().initial(5), X)
    p = made(init=random_tree)
    np.testing.assert_array_equal(p.initial(5), made(init=random_tree).initial(5))
    assert not np.array_equal(p.initial(5), p.initial(6))


def test_params_at_is_the_pytree_again() -> None:
    params = made().params_at(X)
    assert sorted(params) == ["bias", "weights"]
    assert float(params["bias"]) == 0.1
    assert np.asarray(params["weights"]).tolist() == [0.3, -0.2, 0.5]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"precision": "float16"}, "unknown precision 'float16'"),
        ({"data": [INPUTS, TARGETS]}, "data must be a tuple of arrays, got list"),
        ({"data": (INPUTS, TARGETS[:3])}, r"data\[1\] has 3 entries where the rows"),
        ({"init": {}}, "holds no array"),
        ({"init": {"weights": np.arange(3)}}, "a leaf of the initial pytree is int64"),
        ({"init": lambda key: 1 / 0}, r"init\(key\) failed: ZeroDivisionError"),
        ({"init": {"weights": np.ones(5), "bias": np.ones(())}}, "the loss fails on these samples"),
        ({"loss": lambda params, batch: params["weights"]}, "not one real number"),
        ({"batch_size": 99}, "batch_size is 99, but this node has 12 samples"),
    ],
)
def test_what_does_not_fit_is_told_when_it_is_made(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        made(**changes)
    assert caught.value.hint


def test_an_x_of_another_length_is_told() -> None:
    with pytest.raises(ConfigError, match=r"x has shape \(3,\), but the pytree has 4"):
        made().gradient(np.zeros(3))


def test_a_loss_that_is_not_a_number_is_told_by_the_gradient_and_shown_by_the_value() -> None:
    x = np.full(4, 1e200)
    assert made().value(x) == np.inf
    with pytest.raises(WorkloadFailed, match="the loss is not finite: inf"):
        made().gradient(x)


def test_without_jax_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingExtra, match="a JAX problem needs jax") as caught:
        made()
    assert "p2pdo[jax]" in str(caught.value.hint)
