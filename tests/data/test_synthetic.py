from typing import Any

import numpy as np
import pytest

from p2pdo.data.catalogue import build, build_all
from p2pdo.data.synthetic import planted
from p2pdo.errors import ConfigError


@pytest.mark.parametrize("seed", range(5))
def test_quadratics_have_their_eigenvalues_between_1_and_10(seed: int) -> None:
    for problem in build_all("quadratic", 3, seed=seed):
        assert problem.strong_convexity >= 1 - 1e-12
        assert problem.smoothness <= 10 + 1e-12
        assert problem.dimension == 10


@pytest.mark.parametrize("name", ["quadratic", "least-squares"])
def test_a_nodes_data_do_not_depend_on_how_many_nodes_there_are(name: str) -> None:
    x = np.ones(10)
    few, many = build(name, 2, 3, seed=9), build(name, 2, 100, seed=9)
    assert few.gradient(x).tobytes() == many.gradient(x).tobytes()


def test_without_noise_the_planted_x_is_found() -> None:
    problems: Any = build_all("least-squares", 3, seed=4, parameters={"noise": 0.0})
    x = type(problems[0]).minimiser(problems)
    np.testing.assert_allclose(x, planted(4, 10), rtol=1e-12)


def test_with_noise_the_planted_x_is_found_nearly() -> None:
    problems: Any = build_all("least-squares", 20)
    x = type(problems[0]).minimiser(problems)
    assert 0 < np.linalg.norm(x - planted(0, 10)) < 0.1


@pytest.mark.parametrize("name", ["quadratic", "least-squares"])
def test_float32_data_are_the_float64_data_rounded(name: str) -> None:
    wide, narrow = vars(build(name, 1, 2)), vars(build(name, 1, 2, dtype="float32"))
    for key, value in wide.items():
        np.testing.assert_array_equal(narrow[key], value.astype(np.float32))


@pytest.mark.parametrize("name", ["quadratic", "least-squares"])
def test_there_are_no_labels_to_skew(name: str) -> None:
    with pytest.raises(ConfigError, match="no labels to skew"):
        build(name, 0, 2, "label-skew")
