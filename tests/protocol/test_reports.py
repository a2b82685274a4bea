"""Reports of all nodes at once say what the same reports say one by one."""

import numpy as np
import pytest

from p2pdo.problems import Distance
from p2pdo.protocol.judging import Judge, Objective, consensus_error, mean_state
from p2pdo.protocol.reports import StackedReports, sent_by_all, states_of

STATES = np.random.default_rng(0).standard_normal((5, 3))
REPORTS = StackedReports(7, STATES, np.array([2, 2, 3, 1, 2]), bytes_each=24, messages_each=4)


def test_a_report_is_made_of_the_nodes_row() -> None:
    report = REPORTS[2]
    assert (report.node, report.iteration) == (2, 7)
    assert (report.bytes_sent, report.messages_sent) == (3 * 24, 3 * 4)
    assert np.array_equal(report.x, STATES[2])
    assert [r.node for r in REPORTS[1:3]] == [1, 2]
    assert [r.node for r in REPORTS] == [0, 1, 2, 3, 4]


def test_what_was_sent_is_the_sum_of_all() -> None:
    assert sent_by_all(REPORTS) == sent_by_all(list(REPORTS)) == (240, 40)


def test_the_figures_of_one_array_are_those_of_its_rows() -> None:
    rows = list(STATES)
    mean = mean_state(STATES)
    assert states_of(REPORTS) is STATES
    assert np.allclose(mean, mean_state(rows), rtol=1e-15)
    assert consensus_error(STATES, mean) == pytest.approx(consensus_error(rows, mean), rel=1e-15)


def test_all_at_once_are_judged_as_one_by_one() -> None:
    objective = Objective([Distance(c) for c in np.ones((5, 3))])
    (at_once,) = Judge(objective, 5, 1e9).receive_all(REPORTS)
    one_by_one = Judge(objective, 5, 1e9)
    judged = [j for report in REPORTS for j in one_by_one.receive(report)]
    assert len(judged) == 1
    for name in ("iteration", "bytes_sent", "messages_sent", "stop"):
        assert getattr(judged[0], name) == getattr(at_once, name)
    assert judged[0].gap == pytest.approx(at_once.gap, rel=1e-14)


def test_after_the_stop_nothing_is_judged() -> None:
    judge = Judge(Objective([Distance(c) for c in STATES]), 5, 1e9)
    assert [j.stop for j in judge.receive_all(REPORTS)] == [True]
    assert judge.stopped_at == 7
    assert judge.receive_all(REPORTS) == []
