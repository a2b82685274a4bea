"""What costs say of x as a classifier: how many samples are on their label's side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.data import breast_cancer, real
from p2pdo.errors import ConfigError
from p2pdo.problems import Classifier, Hinge, JaxProblem, LeastSquares, Logistic, Softmax
from p2pdo.problems.torch_problem import TorchProblem

RNG = np.random.default_rng(2)
A, X = RNG.standard_normal((40, 3)), RNG.standard_normal(3)
SIGNS = np.where(RNG.random(40) < 0.5, -1.0, 1.0)
CLASSES = RNG.integers(4, size=40)
W = RNG.standard_normal((3, 4))


@pytest.mark.parametrize("cls", [Logistic, Hinge])
def test_two_classes_are_parted_by_a_plane(cls: Any) -> None:
    right = sum((a @ X > 0) == (b > 0) for a, b in zip(A, SIGNS, strict=True))
    assert cls(A, SIGNS, samples=40, l2=0.1).classified(X) == (right, 40)


def test_many_classes_are_told_by_their_scores() -> None:
    right = sum(int(np.argmax(a @ W)) == b for a, b in zip(A, CLASSES, strict=True))
    cost = Softmax(A, CLASSES.astype(float), classes=4, samples=40, l2=0.1)
    assert cost.classified(W.reshape(-1)) == (right, 40)
    assert 0 < right < 40


def test_accuracy_of_trained_and_of_held_out_samples_is_told() -> None:
    pytest.importorskip("sklearn")
    asked: Any = {"nodes": 4, "rounds": 400, "seed": 5, "parameters": {"problem.test": 0.3}}
    result = p2pdo.run("breast-cancer", "gradient-tracking", **asked)
    test: Any = breast_cancer.held_out(5, test=0.3)
    expected = float(np.mean(np.sign(test.A @ result.x) == test.b))
    last = result.metrics[-1]
    assert result.summary.test_accuracy == last.test_accuracy == expected > 0.9
    assert result.summary.accuracy is not None
    assert last.to_plain()["test_accuracy"] == expected
    assert "test_accuracy" not in p2pdo.run("breast-cancer", rounds=0).metrics[-1].to_plain()


def test_a_test_of_ones_own_is_an_object_or_a_place(tmp_path: Any) -> None:
    pytest.importorskip("sklearn")
    costs: Any = [real.wine(i, 3, "iid", 0, "float64", test=0.5) for i in range(3)]
    own: Any = real.wine_held_out(0, test=0.5)
    told = p2pdo.run(costs, "dgd", rounds=50, test=own).summary.test_accuracy
    (tmp_path / "mine.py").write_text(
        "from p2pdo.data import real\n"
        "def costs(i, nodes, partition, seed):\n"
        "    return real.wine(i, nodes, partition, seed, 'float64', test=0.5)\n"
        "def test(seed):\n"
        "    return real.wine_held_out(seed, test=0.5)\n"
    )
    where = f"{tmp_path / 'mine.py'}"
    asked: Any = {"nodes": 3, "rounds": 50, "test": f"{where}:test"}
    assert p2pdo.run(f"{where}:costs", "dgd", **asked).summary.test_accuracy == told


def test_a_test_that_cannot_be_one_is_refused() -> None:
    cost = LeastSquares(A, SIGNS)
    with pytest.raises(ConfigError, match="LeastSquares, which classifies nothing"):
        p2pdo.run([cost, cost], rounds=1, test=cost)
    other = Logistic(A[:, :2], SIGNS, samples=40, l2=0.1)
    with pytest.raises(ConfigError, match="dimension 2, the nodes' 3"):
        p2pdo.run([cost, cost], rounds=1, test=other)


# ---- PyTorch and JAX ----


def network() -> Any:
    from torch import nn

    return nn.Linear(3, 4)


def test_a_network_classifies_by_its_largest_output() -> None:
    functional: Any = pytest.importorskip("torch.nn.functional")
    cost = TorchProblem(network, functional.cross_entropy, A.astype(np.float32), CLASSES)
    weights, biases = W.T, RNG.standard_normal(4)
    x = np.concatenate([weights.reshape(-1), biases]).astype(np.float32)
    right = sum(int(np.argmax(weights @ a + biases)) == b for a, b in zip(A, CLASSES, strict=True))
    assert cost.classified(x) == (right, 40)
    result = p2pdo.run([cost] * 2, "dgd", rounds=5, parameters={"step_size": 0.1}, test=cost)
    assert result.summary.accuracy == result.summary.test_accuracy
    assert result.summary.accuracy is not None


def test_a_network_for_a_regression_classifies_nothing() -> None:
    functional: Any = pytest.importorskip("torch.nn.functional")
    cost = TorchProblem(
        network, functional.mse_loss, A.astype(np.float32), np.zeros((40, 4), np.float32)
    )
    assert cost.classified(np.zeros(cost.dimension)) == (0, 0)
    result = p2pdo.run([cost] * 2, "dgd", rounds=1, parameters={"step_size": 0.1})
    assert result.summary.accuracy is None


def jax_loss(params: Any, batch: Any) -> Any:
    import jax

    scores = jax.nn.log_softmax(jax_scores(params, batch[0]))
    return -jax.numpy.take_along_axis(scores, batch[1][:, None], axis=1).mean()


def jax_scores(params: Any, inputs: Any) -> Any:
    return inputs @ params["W"]


def test_a_jax_loss_classifies_as_predict_says() -> None:
    pytest.importorskip("jax")
    asked: Any = {"data": (A, CLASSES), "precision": "float64"}
    cost = JaxProblem(jax_loss, {"W": np.zeros((3, 4))}, predict=jax_scores, **asked)
    right = sum(int(np.argmax(a @ W)) == b for a, b in zip(A, CLASSES, strict=True))
    assert cost.classified(W.reshape(-1)) == (right, 40)
    without = JaxProblem(jax_loss, {"W": np.zeros((3, 4))}, **asked)
    assert isinstance(without, Classifier)
    assert without.classified(W.reshape(-1)) == (0, 0)


def test_what_predict_must_be_is_told() -> None:
    pytest.importorskip("jax")
    init = {"W": np.zeros((3, 4))}
    with pytest.raises(ConfigError, match="needs the classes' numbers"):
        JaxProblem(lambda p, b: (b[0] @ p["W"]).mean(), init, (A,), predict=jax_scores)
    data = (A, CLASSES)
    with pytest.raises(ConfigError, match="predict fails on these samples"):
        JaxProblem(jax_loss, init, data, predict=lambda _p, inputs: inputs @ np.ones(5))
    with pytest.raises(ConfigError, match="not a score for each class"):
        JaxProblem(jax_loss, init, data, predict=lambda _p, inputs: inputs.sum())
