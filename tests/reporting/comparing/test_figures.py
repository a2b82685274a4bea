"""Means over good trials only; what the others came to is told with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import make_comparison, make_run, metric

from p2pdo.errors import NotFound
from p2pdo.reporting.comparing.figures import at, figures_of, observed_every, ranked, tolerance_of
from p2pdo.reporting.comparing.folder import differences
from p2pdo.reporting.comparing.tables import remarks
from p2pdo.reporting.comparing.trials import Group, Status, read_groups

NOT_FINITE = {
    "code": "workload-failed",
    "message": "a value of node-2 is not finite (NaN or infinite) in iteration 31",
    "node": "node-2",
    "iteration": 31,
}
BROKEN = {"code": "workload-failed", "message": "ZeroDivisionError: mine", "iteration": 7}
FAST = [1.0, 1e-2, 1e-4, 1e-6]
SLOW = [1.0, 1e-1, 1e-3, 1e-5]


@pytest.fixture
def groups(tmp_path: Path) -> list[Group]:
    runs = {
        "good": [{"gaps": FAST}, {"gaps": SLOW}],
        "mixed": [
            {"gaps": FAST},
            {"gaps": [1.0, 1e8], "failed": NOT_FINITE},
            {"gaps": [1.0, 5.0, 500.0]},
            {"gaps": [1.0], "failed": BROKEN},
            {"gaps": [1.0, 0.5], "ended": False},
            {},
        ],
        "stuck": [{"gaps": [1.0, 0.5, 0.5]}],
    }
    return read_groups([make_comparison(tmp_path / "c", runs)])


def test_means_are_over_good_trials_alone(groups: list[Group]) -> None:
    good, mixed, stuck = (figures_of(group, 1e-4) for group in groups)
    assert (good.trials, good.good, good.reached) == (6, 2, 2)
    assert good.gap is not None
    assert good.gap.mean == pytest.approx((1e-6 + 1e-5) / 2)
    assert good.gap.std == pytest.approx((1e-5 - 1e-6) / 2**0.5)
    assert (mixed.trials, mixed.good, mixed.reached) == (6, 1, 1)
    assert mixed.gap is not None
    assert (mixed.gap.mean, mixed.gap.std) == (1e-6, None)
    assert (stuck.good, stuck.reached) == (1, 0)
    assert set(stuck.to.values()) == {None}


def test_what_it_took_is_read_at_the_first_observation_within_the_tolerance(
    groups: list[Group],
) -> None:
    to = figures_of(groups[0], 1e-4).to
    means = {axis: None if spread is None else spread.mean for axis, spread in to.items()}
    assert means == {  # of iterations 20 and 30
        "iterations": 25,
        "gradients": 4 * 25,
        "messages": 8 * 25,
        "bytes": 80 * 25,
        "seconds": 2.5,
    }


def test_the_others_are_told_with_their_reason(groups: list[Group]) -> None:
    statuses = [trial.status for trial in groups[1].trials]
    assert statuses == [
        Status.GOOD,
        Status.DIVERGED,
        Status.DIVERGED,
        Status.FAILED,
        Status.UNFINISHED,
        Status.UNFINISHED,
    ]
    assert remarks([figures_of(groups[1], 1e-4)])[2:] == [
        f"  mixed, seed 6: diverged: {NOT_FINITE['message']}",
        "  mixed, seed 7: diverged: the gap grew from 1.0e+00 to 5.0e+02",
        "  mixed, seed 8: failed: ZeroDivisionError: mine (iteration 7)",
        "  mixed, seed 9: unfinished: it was interrupted after iteration 10, or still runs",
        "  mixed, seed 10: unfinished: it has not begun",
    ]


def test_the_cheapest_to_the_tolerance_comes_first(groups: list[Group]) -> None:
    figures = [figures_of(group, 1e-4) for group in reversed(groups)]
    assert [one.label for one in ranked(figures, "bytes")] == ["good", "mixed", "stuck"]


def test_the_runs_own_tolerance_and_pace_are_known(groups: list[Group]) -> None:
    assert tolerance_of(groups) == 1e-4
    assert observed_every(groups) == 10


def test_single_runs_that_differ_in_their_seed_are_trials_of_one_kind(tmp_path: Path) -> None:
    for seed in (0, 1):
        make_run(tmp_path / f"a{seed}", "dgd", FAST, seed=seed)
    make_run(tmp_path / "b", "dgd", SLOW, topology="torus")
    make_run(tmp_path / "c", "extra", SLOW)
    groups = read_groups([tmp_path / name for name in ("a0", "b", "c", "a1")])
    assert {group.label: len(group.trials) for group in groups} == {
        "dgd (topology=ring)": 2,
        "dgd (topology=torus)": 1,
        "extra": 1,
    }


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="neither the folder of a run nor of a comparison"):
        read_groups([tmp_path])


def test_the_seconds_of_a_simulated_run_are_those_of_its_clock() -> None:
    assert at(metric(3, 1.0), "seconds") == 3.0
    assert at(replace(metric(3, 1.0), simulated_seconds=0.5), "seconds") == 0.5


def test_differences_are_told_by_name() -> None:
    there = {"trials": 2, "settings": {"nodes": 8}, "algorithms": {"dgd": {"parameters": {}}}}
    here = {"trials": 2, "settings": {"nodes": 4}, "algorithms": {"dgd": {"parameters": {"a": 1}}}}
    assert differences(there, there) == []
    assert differences(there, here) == [
        "nodes is 8 there and 4 here",
        "dgd parameters a is absent there and 1 here",
    ]
