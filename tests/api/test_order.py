"""Who confuses `run(problem, algorithm)` with `submit(algorithm, problem)` is told which it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import GradientTracking
from p2pdo.errors import ConfigError
from p2pdo.problems.quadratic import Quadratic

OWN = [Quadratic(np.eye(2), np.ones(2))] * 4
TRACKING = GradientTracking(0.05)


def told(error: pytest.ExceptionInfo[ConfigError]) -> tuple[str, str | None]:
    return error.value.message, error.value.hint


@pytest.mark.asyncio
@pytest.mark.parametrize("network", [p2pdo.local(4), p2pdo.connect("127.0.0.1:9")])
@pytest.mark.parametrize(
    ("arguments", "wrong", "right"),
    [
        (("breast-cancer", "dgd"), "'breast-cancer' is a problem", "'dgd', 'breast-cancer'"),
        (("quadratic", "quadratic"), "'quadratic' is a problem", "ALGORITHM, 'quadratic'"),
        (("dgd", "dgd"), "'dgd' is an algorithm", "'dgd', PROBLEM"),
        ((OWN, "dgd"), "[Quadratic(…), …] is a problem", "'dgd', [Quadratic(…), …]"),
        (
            (OWN, TRACKING),
            "[Quadratic(…), …] is a problem",
            "GradientTracking(…), [Quadratic(…), …]",
        ),
        (("mine.py:four", TRACKING), "GradientTracking(…) is an algorithm", "…), PROBLEM"),
    ],
)
async def test_submit_says_that_it_takes_the_algorithm_first(
    network: Any, arguments: tuple[Any, Any], wrong: str, right: str
) -> None:
    async with network as net:
        with pytest.raises(ConfigError) as error:
            await net.submit(*arguments)
    message, hint = told(error)
    assert message == f"{wrong}; submit takes the algorithm first"
    assert str(hint).startswith("net.submit(")
    assert str(hint).endswith(f"{right})")


@pytest.mark.parametrize(
    ("arguments", "wrong", "right"),
    [
        (("dgd", "quadratic"), "'quadratic' is a problem", "'quadratic', algorithm='dgd'"),
        (("dgd",), "'dgd' is an algorithm", "PROBLEM, algorithm='dgd'"),
        (
            (TRACKING, OWN),
            "[Quadratic(…), …] is a problem",
            "[Quadratic(…), …], algorithm=GradientTracking(…)",
        ),
        (
            (GradientTracking,),
            "GradientTracking(…) is an algorithm",
            "algorithm=GradientTracking(…)",
        ),
    ],
)
def test_run_says_that_it_takes_the_problem_first(
    arguments: tuple[Any, ...], wrong: str, right: str
) -> None:
    with pytest.raises(ConfigError) as error:
        p2pdo.run(*arguments)
    message, hint = told(error)
    assert message == f"{wrong}; run takes the problem first"
    assert str(hint).startswith("p2pdo.run(")
    assert str(hint).endswith(f"{right})")


def test_in_its_order_run_needs_no_names() -> None:
    assert p2pdo.run(OWN, TRACKING, rounds=5).summary.algorithm == "gradient-tracking"


def test_a_class_is_no_algorithm_yet() -> None:
    with pytest.raises(ConfigError, match="GradientTracking is a class"):
        p2pdo.run(OWN, GradientTracking, rounds=5)  # type: ignore[arg-type]


def test_a_participant_is_submitted_and_not_run() -> None:
    @p2pdo.participant
    def train(me: object) -> None: ...

    with pytest.raises(ConfigError, match="brings its cost itself") as told:
        p2pdo.run(train)
    assert "net.submit(train" in str(told.value.hint)
