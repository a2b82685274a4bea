"""The models of links and nodes: their figures, how they are written, what is refused."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pdo.simulation.links import units
from p2pdo.simulation.links.compute import ComputeTime, Slow, read_compute
from p2pdo.simulation.links.conditions import Conditions
from p2pdo.simulation.links.delay import Constant, Delay, Exponential, LogNormal, read_delay
from p2pdo.simulation.links.measured import Measured, read_matrix
from p2pdo.simulation.links.silences import Freeze, Interval, Partition, Schedule
from p2pdo.simulation.links.weather import Weather

MANY = 20_000


def drawn(delay: Delay) -> Any:
    rng = np.random.default_rng(1)
    return np.array([delay.draw(rng, 0, 1) for _ in range(MANY)])


# ---- units ----


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("20ms", 0.02),
        ("20 ms", 0.02),
        ("1.5s", 1.5),
        ("2e2us", 2e-4),
        ("3µs", 3e-6),
        ("2min", 120.0),
        ("1h", 3600.0),
        (0.25, 0.25),
        (3, 3.0),
        ("0", 0.0),
    ],
)
def test_times(written: object, value: float) -> None:
    assert units.seconds(written) == pytest.approx(value)


@pytest.mark.parametrize(
    ("written", "value"),
    [("8 bit/s", 1), ("10 Mbit/s", 1.25e6), ("2MB/s", 2e6), ("1 Gbit/s", 1.25e8), ("5 kB/s", 5e3)],
)
def test_rates(written: str, value: float) -> None:
    assert units.bytes_per_second(written) == pytest.approx(value)


@pytest.mark.parametrize("written", ["", "ms", "-3ms", "3 parsecs", "nan", "1e999", True, None])
def test_what_is_no_time_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="is not a time, as '20ms'"):
        units.seconds(written)


@pytest.mark.parametrize("written", ["10", 10, "10 Mbit", "-1 MB/s", "0 MB/s"])
def test_what_is_no_rate_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="rate"):
        units.bytes_per_second(written)


# ---- delays ----


def test_delays_have_their_mean_or_median() -> None:
    assert set(drawn(Constant(0.02))) == {0.02}
    assert drawn(Exponential(0.02)).mean() == pytest.approx(0.02, rel=0.03)
    lognormal = drawn(LogNormal(0.02, 0.5))
    assert np.median(lognormal) == pytest.approx(0.02, rel=0.03)
    assert np.log(lognormal).std() == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(
    ("written", "delay"),
    [
        ("20ms", Constant(0.02)),
        (0.02, Constant(0.02)),
        ("exponential:1s", Exponential(1.0)),
        ("lognormal:20ms,0.5", LogNormal(0.02, 0.5)),
    ],
)
def test_delays_as_they_are_written(written: object, delay: Delay) -> None:
    assert read_delay(written) == delay


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("gauss:3ms", "'gauss' is no kind of delay"),
        ("lognormal:3ms", "lacks how far it spreads"),
        ("lognormal:3ms,wide", "'wide' is no standard deviation"),
        ("lognormal:3ms,-1", "between 0 and 10"),
        ("exponential:", "is not a time"),
    ],
)
def test_what_is_no_delay_is_refused(written: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_delay(written)


def test_a_measured_delay_is_its_entry_or_spreads_around_it() -> None:
    matrix = np.array([[0.0, 0.03], [0.05, 0.0]])
    rng = np.random.default_rng(0)
    assert [Measured(matrix).draw(rng, *ends) for ends in ((0, 1), (1, 0))] == [0.03, 0.05]
    spread = drawn(Measured(matrix, 0.3))
    assert np.median(spread) == pytest.approx(0.03, rel=0.03)


@pytest.mark.parametrize("suffix", ["npy", "csv", "json"])
def test_a_matrix_is_read_from_each_kind_of_file(suffix: str, tmp_path: Path) -> None:
    matrix, path = np.array([[0.0, 30.5], [50.0, 0.0]]), tmp_path / f"pings.{suffix}"
    if suffix == "npy":
        np.save(path, matrix)
    elif suffix == "csv":
        path.write_text("# to 0, to 1\n0,30.5\n50,0\n")
    else:
        path.write_text(json.dumps(matrix.tolist()))
    assert np.array_equal(read_matrix(path), matrix)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "1,2\n3", "is no matrix"),
        ("a.csv", "1,2,3\n4,5,6", r"no square matrix, but of shape \(2, 3\)"),
        ("a.json", "[[0, -1], [1, 0]]", "negative"),
        ("a.json", "[[0, NaN], [1, 0]]", "no numbers"),
        ("a.json", "{", "is no matrix"),
        ("a.txt", "0", "ends neither in"),
        ("a.npy", "0", "is no matrix"),
    ],
)
def test_what_is_no_matrix_is_refused(name: str, text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        read_matrix(path)


def test_a_matrix_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*: No such file"):
        read_matrix(tmp_path / "a.csv")


# ---- weather, computing ----


def test_a_lost_frame_waits_and_waits_twice_as_long_when_it_is_lost_again() -> None:
    weather = Weather(loss=0.3, resend=0.2)
    assert [weather.waited(k) for k in range(4)] == pytest.approx([0.0, 0.2, 0.6, 1.4])
    rng = np.random.default_rng(0)
    losses = [weather.losses(rng) for _ in range(MANY)]
    assert np.mean(losses) == pytest.approx(0.3 / 0.7, rel=0.05)


def test_computing_times_and_who_is_slow() -> None:
    rng = np.random.default_rng(0)
    compute = ComputeTime((0.01,), 0.0, [Slow((3,), 10.0), Slow((4,), 5.0, chance=0.2)])
    assert compute.draw(rng, 0) == 0.01
    assert compute.draw(rng, 3) == pytest.approx(0.1)
    now_and_then = [compute.draw(rng, 4) for _ in range(MANY)]
    assert np.mean(np.array(now_and_then) > 0.02) == pytest.approx(0.2, abs=0.02)
    spread = [ComputeTime((0.01, 0.02), 0.4).draw(rng, 1) for _ in range(MANY)]
    assert np.median(spread) == pytest.approx(0.02, rel=0.03)
    assert read_compute("5ms") == (0.005, 0.0)
    assert read_compute("lognormal:5ms,0.3") == (0.005, 0.3)
    with pytest.raises(ValueError, match="no kind of computing time"):
        read_compute("gauss:5ms")


# ---- silences ----


def once(*intervals: tuple[float, float]) -> Schedule:
    return Schedule([iter([Interval(*interval)]) for interval in intervals])


def test_a_schedule_knows_when_it_is_silent() -> None:
    schedule = once((1.0, 2.0), (1.5, 4.0), (6.0, 7.0))
    found = [schedule.at(t) for t in (0.5, 1.0, 1.7, 3.0, 4.0, 6.5, 9.0)]
    ends = [None if interval is None else interval.ends for interval in found]
    assert ends == [None, 2.0, 4.0, 4.0, None, 7.0, None]
    assert [schedule.until_heard(t) for t in (0.5, 1.0, 6.9)] == [0.5, 4.0, 7.0]


@pytest.mark.parametrize(
    ("begins", "taking", "ends"),
    [
        (0.0, 0.5, 0.5),
        (0.0, 1.0, 1.0),
        (0.0, 1.5, 4.5),
        (2.0, 1.0, 5.0),
        (0.0, 4.0, 8.0),
        (1.0, 0, 4),
    ],
)
def test_work_rests_in_silences(begins: float, taking: float, ends: float) -> None:
    assert once((1.0, 2.0), (1.5, 4.0), (6.0, 7.0)).finish(begins, taking) == ends


def test_work_that_is_frozen_for_ever_never_ends() -> None:
    assert math.isinf(once((1.0, math.inf)).finish(0.5, 1.0))
    assert math.isinf(once((1.0, math.inf)).until_heard(2.0))


def test_freezes_now_and_then_come_as_often_and_last_as_long_as_they_say() -> None:
    conditions = Conditions(freezes=[Freeze((2,), 3.0, every=60.0)])
    schedule = conditions.frozen(2, seed=1)
    found = schedule.within(0.0, 1e5)
    assert len(found) == pytest.approx(1e5 / 63, rel=0.1)
    assert np.mean([i.length for i in found]) == pytest.approx(3.0, rel=0.1)
    assert all(a.ends < b.begins for a, b in pairwise(found))
    assert conditions.frozen(1, seed=1).within(0.0, 1e5) == []
    again = conditions.frozen(2, seed=1)
    assert again.at(found[7].begins) == found[7], "whatever was asked before"


def test_a_partition_parts_its_nodes_from_all_others_and_nobody_else() -> None:
    partition = Partition((0, 1), 2.0, 3.0)
    conditions = Conditions(partitions=[partition])
    assert [partition.parts(a, b) for a, b in ((0, 1), (0, 2), (2, 1), (2, 3))] == [0, 1, 1, 0]
    assert conditions.parted(0, 2).at(3.0) == Interval(2.0, 5.0)
    assert conditions.parted(0, 1).at(3.0) is None
