from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from p2pdo.errors import RemoteProtocolError, WorkloadFailed
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.judging import Judge, Judgement, Objective, Report

N, ITERATIONS = 3, (0, 5, 10, 15)
PROBLEMS = [Quadratic(np.eye(2) * (i + 1), np.full(2, float(i))) for i in range(N)]
OBJECTIVE = Objective(PROBLEMS)


def report(node: int, iteration: int) -> Report:
    assert OBJECTIVE.minimiser is not None
    x = OBJECTIVE.minimiser + 2.0**-iteration * np.array([1.0, node])
    return Report(node, iteration, x, bytes_sent=iteration + node, messages_sent=node)


IN_ORDER = [report(i, k) for k in ITERATIONS for i in range(N)]


def judged(reports: list[Report], tol: float | None = None) -> tuple[list[Judgement], Judge]:
    judge = Judge(OBJECTIVE, N, tol)
    return [j for r in reports for j in judge.receive(r)], judge


@st.composite
def orders(draw: st.DrawFn) -> list[Report]:
    """Each node's reports in order, the nodes' in any, some of them twice or much later again."""
    streams = {i: [report(i, k) for k in ITERATIONS] for i in range(N)}
    order: list[Report] = []
    while any(streams.values()):
        i = draw(st.sampled_from([i for i, stream in streams.items() if stream]))
        order.append(streams[i].pop(0))
        order += draw(st.lists(st.sampled_from(order), max_size=2))
    return order


@given(order=orders(), tol=st.sampled_from([None, 1e-3, 1e-30]))
def test_the_judgements_do_not_depend_on_the_order_of_arrival(
    order: list[Report], tol: float | None
) -> None:
    expected, reference = judged(IN_ORDER, tol)
    judgements, judge = judged(order, tol)
    assert judgements == expected
    assert judge.stopped_at == reference.stopped_at
    assert [r.node for r in judge.latest] == [0, 1, 2]


def test_it_stops_at_the_first_iteration_within_the_tolerance() -> None:
    judgements, judge = judged(IN_ORDER, tol=1e-2)
    assert [j.iteration for j in judgements] == [0, 5, 10]
    assert [j.stop for j in judgements] == [False, False, True]
    assert judge.stopped_at == 10
    last = judgements[-1]
    assert last.gap is not None
    assert 0 <= max(last.gap, last.consensus_error) <= 1e-2
    assert (last.bytes_sent, last.messages_sent) == (33, 3)


def test_a_second_state_of_the_same_place_changes_nothing() -> None:
    judge = Judge(OBJECTIVE, N, None)
    judge.receive(report(0, 0))
    judge.receive(Report(0, 0, np.full(2, 1e9), 0, 0))
    (judgement,) = [j for i in (1, 2) for j in judge.receive(report(i, 0))]
    assert judgement == judged(IN_ORDER)[0][0]


def test_a_state_of_no_node_of_the_run_is_refused() -> None:
    judge = Judge(OBJECTIVE, N, None)
    for node in (-1, N):
        with pytest.raises(RemoteProtocolError, match=f"node {node} of 3"):
            judge.receive(Report(node, 0, np.zeros(2), 0, 0))


class NoValue:
    dimension = 2


class Value(NoValue):
    def value(self, x: np.ndarray) -> float:
        return float(x @ x)


def test_what_the_problems_cannot_tell_is_none_and_never_stops_a_run() -> None:
    blind, half = Objective([NoValue(), Value()]), Objective([Value(), Value()])
    assert (blind.optimum, blind.minimiser, blind.distance(np.zeros(2))) == (None, None, None)
    assert blind.value(np.ones(2)) is None
    assert half.value(np.ones(2)) == 4.0
    for objective in (blind, half):
        (judgement,) = Judge(objective, 1, tol=1e9).receive(Report(0, 0, np.ones(2), 0, 0))
        assert (judgement.gap, judgement.stop) == (None, False)
    assert OBJECTIVE.distance(np.asarray(OBJECTIVE.minimiser)) == 0


def test_a_value_that_cannot_be_had_names_its_node() -> None:
    class Broken(NoValue):
        def value(self, x: np.ndarray) -> float:
            raise ZeroDivisionError("1/0")

    judge = Judge(Objective([Value(), Broken()]), 1, None)
    with pytest.raises(WorkloadFailed, match="node 1's problem raised ZeroDivisionError: 1/0"):
        judge.receive(Report(0, 0, np.ones(2), 0, 0))


def test_problems_of_two_kinds_have_no_common_solver() -> None:
    assert Objective([PROBLEMS[0], Value()]).optimum is None
