"""Costs of very many nodes: what they are together is what each is alone."""

from typing import Any

import numpy as np
import pytest

from p2pdo.data.catalogue import AT_ONCE, MANY, build, build_all
from p2pdo.problems.many import Many
from p2pdo.protocol.judging import Objective
from p2pdo.seeded import uniform

NODES = MANY + 3


@pytest.fixture(scope="module", params=sorted(AT_ONCE))
def many(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, build_all(request.param, NODES, "iid", 4, parameters={"dimension": 3})


def test_a_nodes_cost_is_the_one_that_it_makes_itself(many: tuple[str, Any]) -> None:
    name, problems = many
    assert isinstance(problems, Many)
    assert len(problems) == NODES
    for i in (0, 17, NODES - 1, -1):
        alone: Any = build(name, i % NODES, NODES, "iid", 4, parameters={"dimension": 3})
        for key, value in vars(alone).items():
            assert np.array_equal(getattr(problems[i], key), value)


def test_the_stack_agrees_with_the_costs_one_by_one(many: tuple[str, Any]) -> None:
    _, problems = many
    alone = list(problems)
    x = np.array([0.3, -1.0, 2.0])
    assert problems.value(x) == pytest.approx(sum(p.value(x) for p in alone), rel=1e-12)
    X = np.random.default_rng(0).standard_normal((NODES, 3))
    each = np.stack([p.gradient(row) for p, row in zip(alone, X, strict=True)])
    assert np.allclose(problems.stack.gradient(X), each, rtol=1e-12, atol=1e-13)
    assert problems.stack.smoothness == pytest.approx(max(p.smoothness for p in alone))


def test_the_optimum_of_very_many_is_that_of_all(many: tuple[str, Any]) -> None:
    _, problems = many
    together, alone = Objective(problems), Objective(list(problems))
    assert together.minimiser is not None
    assert np.allclose(together.minimiser, alone.minimiser, rtol=0, atol=1e-12)
    assert together.optimum == pytest.approx(alone.optimum, rel=1e-12)


def test_slices_of_many_are_lists(many: tuple[str, Any]) -> None:
    _, problems = many
    assert [type(p) for p in problems[5:7]] == [type(problems[5])] * 2
    with pytest.raises(IndexError):
        problems[NODES]


def test_a_node_alone_draws_what_it_draws_among_many() -> None:
    together = uniform(3, 9, range(70_000), 2)
    for i in (0, 1, 65_535, 65_536, 69_999):
        assert np.array_equal(uniform(3, 9, range(i, i + 1), 2)[0], together[i])
    assert np.array_equal(uniform(3, 9, range(4), 5)[:, :2], together[:4])
    assert -1 <= together.min() < -0.999 < 0.999 < together.max() < 1
    assert abs(together.mean()) < 0.01
    assert abs(np.corrcoef(together.T)[0, 1]) < 0.02
    assert not np.array_equal(uniform(4, 9, range(4), 2), together[:4])
    assert not np.array_equal(uniform(3, 8, range(4), 2), together[:4])
