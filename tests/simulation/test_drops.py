"""Values that never arrive: who goes on without them and ends where it should, who is refused.

That all executors lose the same values is a law: `survives_what_it_says`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import Algorithm
from p2pdo.algorithms.base import Limit, Missing
from p2pdo.algorithms.catalogue import ALGORITHMS, needs_smoothness
from p2pdo.errors import ConfigError, WorkloadFailed
from p2pdo.problems import LeastSquares, Quadratic
from p2pdo.protocol.drops import Drops
from p2pdo.testing import laws

TOLERANT = [n for n, cls in ALGORITHMS.items() if cls.missing is not Missing.WAIT]
OPTIMA = [name for name in TOLERANT if ALGORITHMS[name].limit is Limit.OPTIMUM]


def costs() -> list[Any]:
    rng = np.random.default_rng(0)
    return [Quadratic(np.diag([1.0, 2.0 + i % 3]), rng.standard_normal(2)) for i in range(8)]


def sums() -> list[Any]:
    """Quadratic costs with terms, for the methods that draw them."""
    rng = np.random.default_rng(0)
    return [LeastSquares(rng.standard_normal((9, 2)), rng.standard_normal(9)) for _ in range(8)]


@pytest.mark.slow
@pytest.mark.parametrize("drop", ["0.1", "0.1:4"])
@pytest.mark.parametrize("name", OPTIMA)
def test_with_a_tenth_of_all_values_lost_the_optimum_is_reached(name: str, drop: str) -> None:
    oracle = ALGORITHMS[name].requires.oracle
    problems = costs() if isinstance(costs()[0], oracle) else sums()
    how: dict[str, Any] = {"algorithm": name, "topology": "ring", "rounds": 5000, "tol": 1e-8}
    lossy = p2pdo.run(problems, drop=drop, **how).summary
    assert lossy.status == "converged"
    assert lossy.gap is not None
    assert lossy.gap <= 1e-8
    assert lossy.dropped == pytest.approx(0.1 * lossy.messages_sent, rel=0.3)


@pytest.mark.parametrize(("name", "extreme"), [("max-consensus", max), ("min-consensus", min)])
def test_the_extreme_is_found_though_values_are_lost(name: str, extreme: Any) -> None:
    starts = np.arange(16.0).reshape(8, 2)
    result = p2pdo.run(costs(), name, start=starts, rounds=60, drop=0.3)
    assert all(np.array_equal(x, extreme(starts, key=sum)) for x in result.states)


@pytest.mark.parametrize("name", sorted(set(ALGORITHMS) - set(TOLERANT)))
def test_who_waits_for_every_value_is_refused_before_the_run(name: str) -> None:
    cls = ALGORITHMS[name]
    parameters = {"step_size": 0.1} if needs_smoothness(cls, {}) else {}
    with pytest.raises(ConfigError, match=f"{name} waits for every value") as caught:
        p2pdo.run(_costs_for(cls), name, parameters=parameters, rounds=1, drop=0.1)
    assert "edge-admm" in str(caught.value.hint)
    assert "--link-loss" in str(caught.value.hint)


def _costs_for(cls: type[Algorithm[Any]]) -> list[Any]:
    """Whatever it needs; it is refused all the same."""
    from p2pdo.problems import Lasso

    rng = np.random.default_rng(0)
    lasso = [Lasso(rng.standard_normal((9, 2)), rng.standard_normal(9), 0.1) for _ in range(8)]
    made: list[list[Any]] = [costs(), sums(), lasso]
    made += [list(laws.COSTS[name](8).problems) for name in ("coupled", "private")]
    return next(problems for problems in made if isinstance(problems[0], cls.requires.oracle))


@pytest.mark.parametrize("executor", ["stacked", "processes"])
def test_an_executor_that_loses_nothing_is_refused(executor: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot be lost on {executor}") as caught:
        p2pdo.run(costs(), "edge-admm", rounds=1, drop=0.1, on=executor)
    assert "dense" in str(caught.value.hint)


def test_a_chain_may_be_given(tmp_path: Path) -> None:
    chain = Drops(0.01, 0.9, 0.05, 0.2, seed=7)
    found = p2pdo.run(costs(), "atg", rounds=300, drop=chain, out=tmp_path / "run").summary
    assert found.dropped == pytest.approx(chain.rate * found.messages_sent, rel=0.3)
    assert "to_good = 0.2" in (tmp_path / "run" / "run.toml").read_text()


@pytest.mark.parametrize("drop", [None, 0, "0", 0.0])
def test_nothing_is_lost_where_nothing_is_asked_for(drop: Any) -> None:
    how: dict[str, Any] = {"algorithm": "atg", "rounds": 5}
    found = p2pdo.run(costs(), drop=drop, **how).summary
    assert found.dropped == 0
    assert found.state_sha256 == p2pdo.run(costs(), **how).summary.state_sha256


def test_a_value_is_lost_by_the_seed_of_the_run() -> None:
    how: dict[str, Any] = {"algorithm": "atg", "rounds": 40, "drop": 0.2, "start": "zeros"}
    found = [p2pdo.run(costs(), seed=s, **how).summary.state_sha256 for s in (0, 0, 1)]
    assert found[0] == found[1] != found[2]


def test_an_algorithm_that_says_it_holds_and_mixes_is_told(monkeypatch: Any) -> None:
    monkeypatch.setattr(ALGORITHMS["gradient-tracking"], "missing", Missing.HOLD)
    with pytest.raises((WorkloadFailed, p2pdo.P2pdoError), match="weighted sum means nothing"):
        p2pdo.run(costs(), "gradient-tracking", rounds=1, drop=0.1)
