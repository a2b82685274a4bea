from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from p2pdo.data.catalogue import PROBLEMS, build, build_all, defaults_of, describe
from p2pdo.errors import ConfigError
from p2pdo.problems import (
    Coupled,
    Coupling,
    Distance,
    Hinge,
    Huber,
    LeastSquares,
    Logistic,
    PrivateDistance,
    PrivateLogistic,
    Quadratic,
    Ridge,
    Smooth,
    Softmax,
    Solvable,
    Stackable,
)
from p2pdo.types import Plain

CLASSES = {
    "breast-cancer": Logistic,
    "breast-cancer-svm": Hinge,
    "breast-cancer-private": PrivateLogistic,
    "digits": Softmax,
    "wine": Softmax,
    "diabetes": Ridge,
    "diabetes-huber": Huber,
    "two-moons": Logistic,
    "quadratic": Quadratic,
    "least-squares": LeastSquares,
    "averaging": Distance,
    "averaging-private": PrivateDistance,
    "allocation": Coupled,
}


@pytest.fixture(params=sorted(PROBLEMS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def gradient_of(problem: Any) -> Any:
    return problem.smooth_gradient if isinstance(problem, Coupling) else problem.gradient


def contents(problem: Any) -> dict[str, Any]:
    return {
        key: value.tobytes() if isinstance(value, np.ndarray) else value
        for key, value in vars(problem).items()
        if key != "secret"
    }


def test_every_problem_is_built_for_every_node(name: str) -> None:
    problems = build_all(name, 4)
    assert len(problems) == 4
    for problem in problems:
        assert type(problem) is CLASSES[name]
        if isinstance(problem, Coupling):  # a gradient alone would leave its prices negative
            assert hasattr(problem, "minimiser")
            continue
        assert isinstance(problem, Solvable)
        if name == "breast-cancer-private":  # its L is a number of its data
            assert not hasattr(problem, "smoothness")
        elif name != "breast-cancer-svm":  # which has kinks
            assert isinstance(problem, Smooth)
            assert isinstance(problem, Stackable)


def test_one_nodes_problem_is_its_part_of_all(name: str) -> None:
    problems = build_all(name, 4, "iid", 5)
    for i, problem in enumerate(problems):
        assert contents(build(name, i, 4, "iid", 5)) == contents(problem)


def test_nodes_and_seeds_differ(name: str) -> None:
    first = contents(build(name, 0, 4))
    assert contents(build(name, 0, 4)) == first
    assert contents(build(name, 1, 4)) != first
    assert contents(build(name, 0, 4, seed=1)) != first


@pytest.mark.parametrize("dtype", ["float32", "float64", np.dtype(np.float32), np.dtype("f8")])
def test_the_dtype_is_the_datas_and_the_gradients(name: str, dtype: np.dtype[Any] | str) -> None:
    problem: Any = build(name, 1, 4, dtype=dtype)
    assert gradient_of(problem)(np.ones(problem.dimension, dtype)).dtype == dtype
    arrays = [value for value in vars(problem).values() if isinstance(value, np.ndarray)]
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}


def test_the_network_has_a_minimiser(name: str) -> None:
    problems: Any = build_all(name, 4)
    with threadpool_limits(1):  # as in a run
        x = type(problems[0]).minimiser(problems)
    if name == "breast-cancer-svm":
        return  # test_hinge looks for the subgradient that is zero
    g = sum(gradient_of(p)(x) for p in problems)
    if isinstance(problems[0], Coupling):
        assert np.abs(np.minimum(x, g)).max() < 1e-12, "no price falls where it could"
    else:
        assert np.linalg.norm(g) < 1e-12


def test_help_names_every_parameter_with_its_default(name: str) -> None:
    text = describe(name)
    assert "\n" not in text
    for key, value in defaults_of(name).items():
        assert f"{key}={value}" in text


def test_the_parameters_are_those_documented() -> None:
    assert {name: defaults_of(name) for name in PROBLEMS} == {
        "breast-cancer": {"l2": 0.01, "test": 0.0},
        "breast-cancer-svm": {"l2": 0.01, "test": 0.0},
        "breast-cancer-private": {"l2": 0.01, "test": 0.0},
        "digits": {"l2": 0.01, "test": 0.0},
        "wine": {"l2": 0.01, "test": 0.0},
        "diabetes": {"l2": 0.01},
        "diabetes-huber": {"l2": 0.01, "delta": 1.0},
        "two-moons": {"samples": 400, "noise": 0.1, "l2": 0.01, "test": 0.0},
        "quadratic": {"dimension": 10},
        "least-squares": {"dimension": 10, "samples": 50, "noise": 0.1},
        "averaging": {"dimension": 10},
        "averaging-private": {"dimension": 10},
        "allocation": {"dimension": 3, "decisions": 5, "scarcity": 0.3},
    }


def test_parameters_reach_the_problem() -> None:
    parameters: dict[str, Plain] = {"dimension": 3, "samples": 7, "noise": 0}
    problem: Any = build("least-squares", 0, 2, parameters=parameters)
    assert problem.A.shape == (7, 3)


@pytest.mark.parametrize(
    ("wrong", "said", "remedy"),
    [
        ({"name": "quadratc"}, "unknown problem 'quadratc'", "did you mean 'quadratic'?"),
        ({"parameters": {"dimensions": 3}}, "no parameter 'dimensions'", "mean 'dimension'?"),
        ({"parameters": {"dimension": 3.5}}, "dimension must be a whole number", "dimension="),
        ({"parameters": {"dimension": "3"}}, "dimension must be a whole number", "dimension="),
        ({"parameters": {"samples": 0}}, "samples must be .* at least 1, got 0", "samples="),
        ({"parameters": {"noise": "loud"}}, "noise must be a number", "noise="),
        ({"parameters": {"noise": True}}, "noise must be a number", "noise="),
        ({"parameters": {"noise": -0.5}}, "noise must be .* at least 0, got -0.5", "noise="),
        ({"dtype": "float16"}, "unknown dtype 'float16'", "float32"),
        ({"nodes": 0}, "nodes must be .* at least 1", "nodes="),
        ({"node_index": 2}, "no node 2 among 2", "0 to 1"),
        ({"node_index": -1}, "node_index must be .* at least 0", "node_index="),
        ({"seed": -1}, "seed must be .* at least 0", "seed="),
        ({"partition": "skew"}, "unknown partition 'skew'", "label-skew"),
        ({"partition": "label-skew"}, "synthetic data have no labels", "'iid'"),
    ],
)
def test_what_cannot_be_built_is_refused_with_a_remedy(
    wrong: dict[str, Any], said: str, remedy: str
) -> None:
    right: dict[str, Any] = {"name": "least-squares", "node_index": 0, "nodes": 2}
    with pytest.raises(ConfigError, match=said) as caught:
        build(**(right | wrong))
    assert caught.value.hint is not None
    assert remedy in caught.value.hint


def test_an_unknown_problem_has_no_description() -> None:
    with pytest.raises(ConfigError, match="unknown problem"):
        describe("cubic")


def test_no_nodes_are_no_network() -> None:
    with pytest.raises(ConfigError, match="nodes must be a whole number"):
        build_all("quadratic", 0)


@pytest.mark.parametrize("name", ["breast-cancer-private", "averaging-private"])
def test_every_node_and_every_call_draws_a_secret_of_its_own(name: str) -> None:
    secrets = {p.secret for _ in range(2) for p in build_all(name, 4)}  # type: ignore[union-attr]
    assert len(secrets) == 8
    public, private = build(name.removesuffix("-private"), 1, 4), build(name, 1, 4)
    assert contents(public) == contents(private), "but for it the costs are the public ones"
