"""The file that tells where a run's time went, by the rules of its format."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.errors import ConfigError, WorkloadFailed
from p2pdo.protocol import spans as recording
from p2pdo.protocol.spans import COMPUTE, MIX, WAIT, Span
from p2pdo.reporting.timeline import NodeTimeline, write_trace
from p2pdo.types import Array

SETTINGS = {"nodes": 4, "rounds": 30, "observe_every": 10, "on": "inprocess"}


SPAN = {"name", "cat", "ph", "ts", "dur", "pid", "tid", "args"}
METADATA = {"name", "ph", "pid", "tid", "args"}


def events_of(path: Path) -> list[dict[str, Any]]:
    """The complete events; raises where the file breaks a rule of the format.

    "Trace Event Format" (2016): the JSON object format, complete events ("X") and the metadata
    events ("M") that name and sort processes. Readers take a file that lacks more; this one lacks
    nothing and has nothing that the document does not know.
    """
    trace = json.loads(path.read_text(), parse_float=Decimal, parse_constant=_no_number)
    assert set(trace) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    assert isinstance(trace["otherData"], dict)
    rows, told = defaultdict(list), set()
    for event in trace["traceEvents"]:
        assert set(event) == (SPAN if event["ph"] == "X" else METADATA)
        assert event["name"]
        assert isinstance(event["name"], str)
        assert type(event["pid"]) is type(event["tid"]) is int
        if event["ph"] == "M":
            kind, value = {
                "process_name": ("name", str),
                "process_sort_index": ("sort_index", int),
            }[event["name"]]
            assert event["args"].keys() == {kind}
            assert type(event["args"][kind]) is value
            told.add((event["pid"], event["name"]))
            continue
        assert event["ph"] == "X"
        assert isinstance(event["cat"], str)
        assert isinstance(event["args"], dict)
        assert event["ts"] > 0
        assert event["dur"] >= 0
        rows[event["pid"], event["tid"]].append(event)
    for pid, _ in rows:
        assert {(pid, "process_name"), (pid, "process_sort_index")} <= told
    for row in rows.values():
        assert_nested(row)
    return [event for row in rows.values() for event in row]


def _no_number(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")


def assert_nested(row: list[dict[str, Any]]) -> None:
    """Each span ends before the next begins, or lies in it: Perfetto drops those that do not."""
    open_until: list[int] = []
    for event in sorted(row, key=lambda e: (as_read(e["ts"]), -as_read(e["dur"]))):
        began = as_read(event["ts"])
        while open_until and open_until[-1] <= began:
            open_until.pop()
        ends = began + as_read(event["dur"])
        assert not open_until or ends <= open_until[-1]
        open_until.append(ends)


def as_read(microseconds: Decimal) -> int:
    """The nanoseconds that Perfetto makes of a number: it has doubles alone."""
    return round(float(microseconds) * 1000.0)


def names(path: Path) -> dict[int, str]:
    events = json.loads(path.read_text())["traceEvents"]
    return {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}


def test_every_iteration_of_every_node_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    result = p2pdo.run("quadratic", timeline=path, **SETTINGS)

    events = events_of(path)
    assert names(path) == {i: f"node-{i}" for i in range(4)}
    for node in range(4):
        mine = [e for e in events if e["pid"] == node]
        for what in ("compute", "mix", "turn"):
            of_kind = {e["args"]["iteration"] for e in mine if e["cat"] == what}
            assert set(range(30)) <= of_kind
        waited_for = {e["name"] for e in mine if e["cat"] == "wait"}
        assert waited_for <= {f"wait for node-{(node + 1) % 4}", f"wait for node-{(node - 1) % 4}"}
    other = json.loads(path.read_text())["otherData"]
    assert other["dropped_spans"] == dict.fromkeys(names(path).values(), 0)
    assert other["workload"] == result.summary.workload_id


def test_the_mixing_lies_in_the_compute_span_of_its_iteration(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    p2pdo.run("quadratic", timeline=path, **SETTINGS)
    events = events_of(path)
    computes = [e for e in events if e["cat"] == "compute"]
    mixes = [e for e in events if e["cat"] == "mix"]
    assert len(mixes) == 4 * 30
    for mix in mixes:
        around = [
            c
            for c in computes
            if c["pid"] == mix["pid"]
            and c["ts"] <= mix["ts"]
            and mix["ts"] + mix["dur"] <= c["ts"] + c["dur"]
        ]
        assert [c["args"]["iteration"] for c in around] == [mix["args"]["iteration"]]


def test_the_waits_of_an_exchange_follow_each_other_and_end_with_the_turn(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    p2pdo.run("quadratic", timeline=path, **SETTINGS)
    events = events_of(path)
    for node in range(4):
        for k in range(30):
            spans = [e for e in events if e["pid"] == node and e["args"]["iteration"] == k]
            between = [e for e in spans if e["cat"] in ("wait", "turn")]
            *waits, turn = sorted(between, key=lambda e: (e["ts"] + e["dur"], e["cat"] == "turn"))
            assert turn["cat"] == "turn"
            began = min(e["ts"] for e in between)
            waited = turn["ts"] + turn["dur"] - began
            assert sum(e["dur"] for e in (*waits, turn)) == waited


def test_spans_do_not_overlap_on_a_machine_that_has_run_for_years(tmp_path: Path) -> None:
    up, rng = 10 * 365 * 86_400 * 10**9, np.random.default_rng(3)
    spans, now = [], up + 12_345
    for k in range(500):  # each begins where the last one ends, to the nanosecond
        ends = [int(now + t) for t in np.cumsum(rng.integers(1, 5000, 3))]
        spans.append(Span(WAIT, now, ends[0], k, "node-1"))
        spans.append(Span(MIX, ends[0] + 1, ends[1], k, ""))
        spans.append(Span(COMPUTE, ends[0], ends[2], k, ""))
        now = ends[2]
    path = tmp_path / "t.json"

    write_trace(path, [NodeTimeline("node-0", spans)], {}, began=up)

    events = events_of(path)
    assert json.loads(path.read_text())["otherData"]["began_ns"] == up
    assert [(as_read(e["ts"]), as_read(e["dur"])) for e in events] == [
        (span.began - up, span.ended - span.began) for span in spans
    ]


def test_the_shares_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    result = p2pdo.run("quadratic", timeline=path, **SETTINGS)
    assert result.timeline is not None
    shares: Any = result.timeline.to_plain()["shares"]
    events = events_of(path)
    total = Decimal(0)
    for node in range(4):
        mine = [e for e in events if e["pid"] == node]
        total += max(e["ts"] + e["dur"] for e in mine) - min(e["ts"] for e in mine)
    for what in ("compute", "wait", "turn"):
        assert shares[what] == pytest.approx(
            float(sum(e["dur"] for e in events if e["cat"] == what) / total)
        )
    assert 0 < shares["compute"] + shares["wait"] + shares["turn"] <= 1
    assert f"compute {shares['compute']:.0%}" in result.timeline.in_words()


def test_a_timeline_changes_no_bit(tmp_path: Path) -> None:
    without = p2pdo.run("quadratic", **SETTINGS).summary
    with_one = p2pdo.run("quadratic", timeline=tmp_path / "t.json", **SETTINGS).summary
    assert with_one.state_sha256 == without.state_sha256


def test_no_more_spans_than_the_bound_are_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.json"
    monkeypatch.setattr(recording, "SPANS", 200)
    result = p2pdo.run("quadratic", timeline=path, **SETTINGS)
    events = events_of(path)
    assert len(events) == 200
    assert {e["args"]["iteration"] for e in events} >= {29}
    assert 0 not in {e["args"]["iteration"] for e in events}
    dropped = json.loads(path.read_text())["otherData"]["dropped_spans"]
    assert all(count > 0 for count in dropped.values())
    assert result.timeline is not None
    assert f"{sum(dropped.values()):,} earlier spans were dropped" in result.timeline.in_words()


class Breaks:
    """A problem whose gradient fails at its seventh call after the first look."""

    dimension = 2
    smoothness = 1.0

    def __init__(self) -> None:
        self.calls = 0

    def value(self, x: Array) -> float:
        return float(x @ x) / 2

    def gradient(self, x: Array) -> Array:
        self.calls += 1
        if self.calls > 7:
            raise RuntimeError("enough")
        return np.array(x)


def test_a_run_that_fails_leaves_its_timeline_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    with pytest.raises(WorkloadFailed, match="enough") as failure:
        p2pdo.run(
            [Breaks() for _ in range(3)],
            parameters={"step_size": 0.1},
            timeline=path,
            rounds=50,
            on="inprocess",
        )
    iterations = {e["args"]["iteration"] for e in events_of(path)}
    assert failure.value.iteration in iterations
    assert max(iterations) == failure.value.iteration


@pytest.mark.parametrize("on", ["dense", "stacked", "simulated"])
def test_executors_whose_nodes_do_not_wait_refuse(tmp_path: Path, on: str) -> None:
    with pytest.raises(ConfigError, match=f"'{on}' keeps no timeline") as refused:
        p2pdo.run("quadratic", on=on, timeline=tmp_path / "t.json")
    assert refused.value.hint is not None
    assert "--on processes" in refused.value.hint
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [".", "nowhere/t.json"])
def test_a_place_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match="cannot write the timeline"):
        p2pdo.run("quadratic", on="inprocess", timeline=tmp_path / name)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("lane", ["shared-memory", "grpc"])
def test_processes_of_either_lane_hand_in_their_spans(tmp_path: Path, lane: str) -> None:
    path = tmp_path / "t.json"
    settings = {**SETTINGS, "on": "processes", "lane": lane}
    result = p2pdo.run("quadratic", timeline=path, **settings)
    assert result.summary.state_sha256 == p2pdo.run("quadratic", **SETTINGS).summary.state_sha256
    events = events_of(path)
    for node in range(4):
        mine = [e for e in events if e["pid"] == node]
        for what in ("compute", "mix", "send"):
            assert {e["args"]["iteration"] for e in mine if e["cat"] == what} >= set(range(30))
    assert {e["name"] for e in events if e["cat"] == "wait"} <= {
        f"wait for node-{i}" for i in range(4)
    }
    assert any(e["cat"] == "wait" for e in events)
    began, ended = (
        [pick(e["ts"] for e in events if e["pid"] == i) for i in range(4)] for pick in (min, max)
    )
    assert max(began) < min(ended)  # on one clock: they ran at the same time


FAILING = """
import os
from dataclasses import dataclass, field

@dataclass
class Half:
    node: int
    how: str
    dimension: int = 2
    smoothness: float = 1.0
    calls: list[int] = field(default_factory=list, init=False)
    def value(self, x): return float(x @ x) / 2
    def gradient(self, x):
        self.calls.append(1)
        if self.node == 1 and len(self.calls) == 20:
            if self.how == "dies":
                os._exit(3)
            raise RuntimeError("enough")
        return x * 1.0

def problem(node_index, nodes, partition, seed, *, how):
    return Half(node_index, how)
"""


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(("how", "lost"), [("fails", []), ("dies", ["node-1"])])
def test_processes_that_fail_leave_what_the_living_have(
    tmp_path: Path, how: str, lost: list[str]
) -> None:
    path, code = tmp_path / "t.json", tmp_path / "failing.py"
    code.write_text(FAILING)
    with pytest.raises(WorkloadFailed):
        p2pdo.run(
            f"{code}:problem",
            nodes=3,
            parameters={"step_size": 0.1, "problem.how": how},
            timeline=path,
            rounds=50,
            on="processes",
        )
    events = events_of(path)
    other = json.loads(path.read_text())["otherData"]
    assert other["missing_nodes"] == lost
    assert names(path) == {i: f"node-{i}" for i in range(3)}
    assert {e["pid"] for e in events} == {i for i in range(3) if f"node-{i}" not in lost}
    assert 17 <= max(e["args"]["iteration"] for e in events) <= 21
