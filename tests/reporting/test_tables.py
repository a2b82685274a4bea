"""Figures for people, tables for terminals and pipes."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from p2pdo.reporting import formats
from p2pdo.reporting.records import Summary
from p2pdo.reporting.tables import summary_table, table

SUMMARY = Summary(
    workload_id="k3v9",
    status="done",
    problem="quadratic",
    algorithm="gradient-tracking",
    topology="ring",
    nodes=8,
    executor="processes",
    iterations=4012,
    gap=3.4e-9,
    consensus_error=1.9e-10,
    value=0.3141592653,
    optimum=0.31415926,
    distance_to_optimum=2e-5,
    bytes_sent=1_234_567,
    messages_sent=7792,
    seconds=12.3,
    run_dir="my runs/k3v9",
    state_sha256="9f" * 32,
)


def pipe(width: int = 20) -> Console:
    return Console(file=io.StringIO(), width=width)


def terminal() -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=True, color_system="standard")


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(autouse=True)
def _no_colour_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (17_200, "17 kB"),
        (999_499, "999 kB"),
        (999_950, "1.0 MB"),
        (1_234_567, "1.2 MB"),
        (3_100_000_000, "3.1 GB"),
        (5 * 10**15, "5,000 TB"),
    ],
)
def test_bytes_are_counted_in_thousands(n: int, text: str) -> None:
    assert formats.size(n) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"),
        (0.0124, "12 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.6, "1 h 00 min"),
        (11220, "3 h 07 min"),
    ],
)
def test_times_take_the_unit_of_their_size(seconds: float, text: str) -> None:
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [(0, "- it/s"), (0.1, "10.0 s/it"), (1, "1.0 it/s"), (39.4, "39 it/s"), (1234, "1,234 it/s")],
)
def test_a_slow_rate_is_told_as_seconds_per_iteration(per_second: float, text: str) -> None:
    assert formats.rate(per_second) == text


def test_small_numbers_show_their_power_of_ten_and_unknown_ones_a_dash() -> None:
    assert [formats.small(x) for x in (3.4e-9, 0.0, None, float("nan"))] == [
        "3.4e-09",
        "0",
        "-",
        "nan",
    ]
    assert [formats.real(x) for x in (0.3141592653, None)] == ["0.314159", "-"]


def test_a_name_cannot_steer_the_terminal() -> None:
    assert formats.printable("a\x1b[31m\nb\u202ec é") == "a\\x1b[31m\\nb\\u202ec é"


def test_a_table_in_a_pipe_is_aligned_whole_and_plain() -> None:
    console = pipe(width=10)
    table(console, ["node", "sent", "up"], [["site-1", 1234, True], ["[b]日本\x1b", None, False]])
    assert printed(console) == (
        "node          sent  up\nsite-1       1,234  yes\n[b]日本\\x1b      -  no\n"
    )


def test_a_column_of_numbers_is_set_to_the_right() -> None:
    console = pipe()
    table(console, ["gap"], [[1e-9], [0.0]])
    assert printed(console).splitlines() == ["    gap", "1.0e-09", "      0"]


def test_a_table_without_rows_has_its_header() -> None:
    console = pipe()
    table(console, ["a", "b"], [])
    assert printed(console) == "a  b\n"


def test_a_table_on_a_terminal_has_a_styled_header_and_no_markup() -> None:
    console = terminal()
    table(console, ["node", "sent"], [["[red]a", 1]])
    assert "\x1b[1m" in printed(console)
    assert "[red]a" in printed(console)


def test_no_color_leaves_no_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = terminal()
    summary_table(console, SUMMARY)
    assert "\x1b[1;32m" not in printed(console)


def test_a_summary_in_a_pipe_has_no_escape_codes_and_figures_for_people() -> None:
    console = pipe()
    summary_table(console, SUMMARY)
    text = printed(console)
    assert "\x1b" not in text
    assert text.splitlines() == [
        "done  k3v9  gradient-tracking on quadratic, 8 nodes, ring, processes",
        "  iterations           4,012",
        "  gap                  3.4e-09",
        "  consensus error      1.9e-10",
        "  cost                 0.314159",
        "  optimal cost         0.314159",
        "  distance to optimum  2.0e-05",
        "  sent                 1.2 MB in 7,792 messages",
        "  time                 12.3 s (326 it/s)",
        f"  state sha256         {'9f' * 32}",
        "  run folder           my runs/k3v9",
        "next: p2pdo plot 'my runs/k3v9'",
    ]


def test_what_cannot_be_known_is_left_out() -> None:
    console = pipe()
    unknown = replace(
        SUMMARY,
        nodes=1,
        iterations=0,
        messages_sent=1,
        gap=None,
        value=None,
        optimum=None,
        distance_to_optimum=None,
        run_dir=None,
        state_sha256=None,
    )
    summary_table(console, unknown)
    assert printed(console).splitlines() == [
        "done  k3v9  gradient-tracking on quadratic, 1 node, ring, processes",
        "  iterations       0",
        "  gap              -",
        "  consensus error  1.9e-10",
        "  sent             1.2 MB in 1 message",
        "  time             12.3 s",
    ]


@pytest.mark.parametrize(("status", "code"), [("done", "1;32"), ("failed", "1;31")])
def test_the_status_has_a_colour_on_a_terminal(status: str, code: str) -> None:
    console = terminal()
    summary_table(console, replace(SUMMARY, status=status))
    assert f"\x1b[{code}m{status}" in printed(console)
