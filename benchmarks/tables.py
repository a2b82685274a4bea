"""What `compare.py` has measured, as tables and as what its targets come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import targets as goals
from contenders import BY_HAND, GLOO, GRPC, LANE, MPI, NODES, NVFLARE, Contender, Measured
from targets import Target

from p2pdo.benchmarks.router import ROUTERS, Routed
from p2pdo.benchmarks.simulate import Simulated
from p2pdo.benchmarks.spread import Spread, figure, in_words, plain
from p2pdo.types import Plain

MEGABYTES = (4, 100)
WAYS = {"memcpy": "memcpy", "tcp": "raw TCP", "bare": "grpc.aio alone", "grpc": "p2pdo, grpc"}
"""Of `one_way.py`, as the table calls them."""
KEPT = 5  # values of a node: its two neighbours' and three
ITEM = 4  # bytes of a float32


@dataclass
class Found:
    """Everything that was measured."""

    averaging: list[Contender]
    tracking: list[Contender]
    one_way: Mapping[str, Mapping[int, list[float]]] = field(default_factory=dict)
    routed: Routed | None = None
    simulated: Sequence[Simulated] = ()


# ---- ratios, turn by turn ----


def ratio(there: Sequence[Contender], one: str, other: str, floats: int) -> Spread | None:
    """The rate of `one` as a multiple of the other's, of the turns that both were in."""
    by_name = {contender.name: contender.found.get(floats, []) for contender in there}
    return Spread.of(
        a.rate / b.rate
        for a, b in zip_longest(by_name.get(one, []), by_name.get(other, []))
        if a is not None and b is not None
    )


def spread(found: Sequence[Measured | None], name: str) -> Spread | None:
    """One of their figures."""
    return Spread.of(getattr(one, name) for one in found if one is not None)


def _found(there: Sequence[Contender], name: str, floats: int) -> list[Measured | None]:
    return next((one.found.get(floats, []) for one in there if one.name == name), [])


def _cpu(there: Sequence[Contender], one: str, other: str, floats: int) -> str:
    both = [spread(_found(there, name, floats), "cpu_ms") for name in (one, other)]
    return " / ".join("-" if each is None else figure(each.median) for each in both)


# ---- targets ----

AGAINST: Sequence[tuple[str, str, str, str, Mapping[int, float]]] = (
    (
        *(goals.MPI, "shared memory, × MPI's", LANE, MPI),
        {1: 0.5, 10**4: 1.0, 10**6: 1.3, 25 * 10**6: 1.6},
    ),
    (goals.NVFLARE, "shared memory, × NVFlare's", LANE, NVFLARE, {1: 300, 10**6: 60}),
    (
        *(goals.GLOO, "gRPC, × gloo's", GRPC, GLOO),
        {1: 1.5, 10**4: 1.2, 10**6: 0.5, 25 * 10**6: 0.5},
    ),
)
"""Group, words, contender, its peer; and by floats the ratio of rates that is to be reached."""
FULL = {10**4: 0.7, 10**6: 0.7, 25 * 10**6: 0.7}
ONE_WAY = {4: 0.45, 100: 0.7}
BESIDE_VALUES = 60.0  # MB
IN_PROCESS = {"consensus": 1.5e5, "gradient-tracking": 0.5e5}
FLAT = 1.2
ROUTER = 0.8


def targets_of(found: Found, sizes: Sequence[int]) -> list[Target]:
    """Every target that the sizes are about, in the order of the table."""
    return [
        *_against_peers(found.averaging, sizes),
        *_one_way_targets(found.one_way),
        *_full(found.tracking, sizes),
        *_memory(found.averaging, sizes),
        *_in_process(found.simulated),
        Target(
            goals.ROUTER,
            "Lead Client, × a router by hand, in CPU time",
            ROUTER,
            None if found.routed is None else found.routed.share_of("by hand"),
        ),
    ]


def _against_peers(there: Sequence[Contender], sizes: Sequence[int]) -> list[Target]:
    return [
        Target(
            group,
            f"{words}, {_floats(floats)}",
            bound,
            ratio(there, one, other, floats),
            _cpu(there, one, other, floats),
        )
        for group, words, one, other, bounds in AGAINST
        for floats, bound in bounds.items()
        if floats in sizes
    ]


def _one_way_targets(found: Mapping[str, Mapping[int, list[float]]]) -> list[Target]:
    return [
        Target(
            goals.ONE_WAY,
            f"gRPC one way, × raw TCP, {megabytes} MB",
            bound,
            _against_tcp(found, "grpc", megabytes),
        )
        for megabytes, bound in ONE_WAY.items()
    ]


def _against_tcp(
    found: Mapping[str, Mapping[int, list[float]]], way: str, mb: int
) -> Spread | None:
    if not found:
        return None
    pairs = zip(found[way][mb], found["tcp"][mb], strict=True)
    return Spread.of(rate / raw for rate, raw in pairs)


def _full(there: Sequence[Contender], sizes: Sequence[int]) -> list[Target]:
    return [
        Target(
            goals.FULL,
            f"gradient tracking in full, × by hand over the lane, {_floats(floats)}",
            bound,
            ratio(there, LANE, BY_HAND, floats),
            _cpu(there, LANE, BY_HAND, floats),
        )
        for floats, bound in FULL.items()
        if floats in sizes
    ]


def _memory(there: Sequence[Contender], sizes: Sequence[int]) -> list[Target]:
    lanes = {LANE: (goals.MEMORY, "shared memory"), GRPC: (goals.GRPC_MEMORY, "gRPC")}
    return [
        Target(
            group if floats * ITEM > 10**6 else goals.MEMORY,
            f"MB of a node beside {KEPT} values, {words}, {_floats(floats)}",
            BESIDE_VALUES,
            beyond(_found(there, lane, floats), floats),
            is_most=True,
        )
        for lane, (group, words) in lanes.items()
        for floats in sizes
    ]


def beyond(found: Sequence[Measured | None], floats: int) -> Spread | None:
    """MB of the largest node over the values that it may keep."""
    peaks = spread(found, "memory_mb")
    if peaks is None:
        return None
    return Spread.of(peak - KEPT * ITEM * floats / 1e6 for peak in peaks.runs)


def _in_process(found: Sequence[Simulated]) -> list[Target]:
    made = []
    for algorithm, bound in IN_PROCESS.items():
        rates = [(one.nodes, one.rate) for one in found if one.work.algorithm == algorithm]
        for nodes, rate in rates:
            words = f"node-iterations/s in one process, {algorithm}, {nodes:,} nodes"
            made.append(Target(goals.IN_PROCESS, words, bound, rate))
        known = [rate.runs for _, rate in rates if rate is not None]
        if known:
            turns = zip(*known, strict=True)
            flat = Spread.of(max(turn) / min(turn) for turn in turns)
            words = f"largest / smallest of these, {algorithm}"
            made.append(Target(goals.FLAT, words, FLAT, flat, is_most=True))
    return made


def target_tables(found: Found, sizes: Sequence[int]) -> list[str]:
    """The table of targets, and what is to be said of those that are missed."""
    made = targets_of(found, sizes)
    lines = [target.row() for target in made]
    parts = ["### Targets", goals.count(made), table(goals.COLUMNS, lines)]
    missed = goals.told(made)
    return parts + (["Of those that are missed:", *missed] if missed else [])


# ---- tables ----


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---", *(["--:"] * (len(columns) - 1))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rows_of(there: Sequence[Contender], floats: int) -> list[dict[str, Any]]:
    """A row a contender: its spreads, and p2pdo's rates as multiples of its own."""
    lanes = [one.name for one in there if one.name.startswith("p2pdo")]
    return [
        {
            "contender": one.name,
            "rate": spread(one.found[floats], "rate"),
            "cpu_ms": spread(one.found[floats], "cpu_ms"),
            "memory_mb": spread(one.found[floats], "memory_mb"),
            "multiples": {lane: ratio(there, lane, one.name, floats) for lane in lanes},
        }
        for one in there
        if any(one.found.get(floats, []))
    ]


def ring_tables(there: Sequence[Contender], sizes: Sequence[int], title: str) -> list[str]:
    parts = []
    for floats in sizes:
        rows = rows_of(there, floats)
        if not rows:
            continue
        lanes = list(rows[0]["multiples"])
        columns = ["", "iterations/s", "CPU ms per node-iteration", "peak MB of a node"]
        columns += [f"{lane} = × this" for lane in lanes]
        lines = [
            [row["contender"], *map(in_words, (row["rate"], row["cpu_ms"], row["memory_mb"]))]
            + [in_words(row["multiples"][lane]) for lane in lanes]
            for row in rows
        ]
        parts += [
            f"### {title}, ring of {NODES} processes, {_floats(floats)}",
            table(columns, lines),
        ]
    return parts


def one_way_table(found: Mapping[str, Mapping[int, list[float]]]) -> list[str]:
    lines = []
    for way, by_size in found.items():
        line = [WAYS[way]]
        for megabytes in MEGABYTES:
            line.append(in_words(Spread.of(by_size[megabytes])))
            line.append(in_words(_against_tcp(found, way, megabytes)))
        lines.append(line)
    columns = [""]
    for megabytes in MEGABYTES:
        columns += [f"{megabytes} MB: MB/s", "× raw TCP"]
    return ["### One way between two processes", table(columns, lines)] if lines else []


def own_tables(found: Found) -> list[str]:
    """The Lead Client and nodes of one process, as `p2pdo bench` measures them."""
    parts = []
    if found.routed is not None:
        routed = found.routed
        lines = [
            [name, *map(in_words, (routed.rate(name), routed.cpu_us(name), routed.share_of(name)))]
            for name in ROUTERS
        ]
        columns = ["", "tasks/s", "CPU µs per task", "Lead Client = × this"]
        parts += ["### Lead Client, 100 clients, tasks that do nothing", table(columns, lines)]
    if found.simulated:
        lines = [
            [
                f"{one.work.algorithm}, d = {one.work.dimension}",
                f"{one.nodes:,}",
                *map(in_words, (one.rate, one.cpu_us)),
            ]
            for one in found.simulated
        ]
        columns = ["", "nodes", "node-iterations/s", "CPU µs per node-iteration"]
        parts += ["### Nodes of one process, in a ring", table(columns, lines)]
    return parts


def to_plain(there: Sequence[Contender], sizes: Sequence[int]) -> list[Plain]:
    """A ring's tables as data."""
    found: list[Plain] = []
    for floats in sizes:
        contenders: list[Plain] = [
            {
                "contender": row["contender"],
                "iterations_per_s": plain(row["rate"]),
                "cpu_ms_per_node_iteration": plain(row["cpu_ms"]),
                "peak_memory_mb": plain(row["memory_mb"]),
                "p2pdo_multiples": {lane: plain(one) for lane, one in row["multiples"].items()},
            }
            for row in rows_of(there, floats)
        ]
        found.append({"floats": floats, "contenders": contenders})
    return found


def _floats(floats: int) -> str:
    return "one float" if floats == 1 else f"{floats:,} floats"
