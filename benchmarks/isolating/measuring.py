"""The pairs of windows of benchmarks/isolation.py, and what they come to."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from isolating.disturbers import LIMITED, STRANGER, Disturber, disturbers
from isolating.rig import Rig, rig
from isolating.victims import Rates, Victims

from p2pdo.benchmarks.pairs import Paired

BOUNDS = (0.95, 1.05)
STALL_REPEAT = 5
LARGE = 3_000_000  # bytes of an array
SETTLE = 0.2  # seconds after a switch that are not measured
MEASURES = ("rounds", "tasks", "cpu")


@dataclass(frozen=True)
class Pair:
    on: Rates
    off: Rates

    def ratio(self, measure: str) -> float:
        return float(getattr(self.on, measure) / getattr(self.off, measure))


async def measure_pair(
    victims: Victims, disturber: Disturber, seconds: float, *, on_first: bool
) -> Pair:
    found: dict[bool, Rates] = {}
    for is_on in (on_first, not on_first):
        if is_on:
            await disturber.on()
        await asyncio.sleep(SETTLE)
        found[is_on] = await victims.rates(seconds)
        if is_on:
            await disturber.off()
    return Pair(found[True], found[False])


async def measure_pairs(
    place: Rig, pairs: int, seconds: float, until: float, rng: np.random.Generator, *, nice: int
) -> tuple[dict[str, list[Pair]], dict[str, int]]:
    """The pairs of each kind, and how often each has failed; they take turns, in random order.

    A turn that the time does not suffice for is not counted; the first is finished in any case.
    """
    victims = Victims(place)
    found: dict[str, list[Pair]] = {}
    async with victims.working(), disturbers(place, nice) as kinds:
        for turn in range(pairs):
            pairs_now: dict[str, Pair] = {}
            for name in rng.permutation([kind for kind in kinds if is_in_turn(kind, turn)]):
                if turn and time.monotonic() > until:  # a turn may take a minute where all is busy
                    break
                on_first = bool(rng.integers(2))
                pair = await measure_pair(victims, kinds[name], seconds, on_first=on_first)
                pairs_now[str(name)] = pair
            else:
                for name, pair in pairs_now.items():
                    found.setdefault(name, []).append(pair)
                left = max(until - time.monotonic(), 0)
                tell(f"{turn + 1} of at most {pairs} pairs, {left:.0f} s left")
                continue
            break
        return found, {name: kind.times for name, kind in kinds.items()}


def is_in_turn(name: str, turn: int) -> bool:
    """The more turns, the more that is claimed of a kind."""
    if name in ("control", *LIMITED.values()):
        return True
    return turn % (4 if name == "loop here" else 2) == 0


def tell(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)


async def stalls(place: Rig) -> dict[str, float]:
    """The longest stall of either loop, in ms: the median over some repeats."""
    data = np.ones(LARGE // 8)
    loops = {"node_ms": place.nodes, "coordinator_ms": place.coordinator}
    found: dict[str, list[float]] = {name: [] for name in loops}
    async with place.net.driver(["n0"]) as driver:
        await driver.broadcast_and_wait("echo", data)
        for other in loops.values():
            await other.ask("watch")
        for _ in range(STALL_REPEAT):
            for other in loops.values():
                await other.ask("stall")
            for name in ("echo", "compute") * 2:
                for result in await driver.broadcast_and_wait(name, data):
                    result.unwrap()
            for name, other in loops.items():
                found[name].append(await other.ask("stall"))
        for other in loops.values():
            await other.ask("unwatch")
    return {name: statistics.median(values) for name, values in found.items()}


async def measure(
    pairs: int, seconds: float, minutes: float, *, nice: int, cpu: float
) -> dict[str, Any]:
    rng = np.random.default_rng()
    until = time.monotonic() + 60 * minutes
    tell("coordinator and nodes start")
    async with rig(nice, cpu) as place:
        stalled = await stalls(place)
        tell("stalls are measured; now pairs of windows")
        found, times = await measure_pairs(place, pairs, seconds, until, rng, nice=nice)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "nice": nice,
        "cpu": cpu,
        "stalls": stalled,
        "kinds": {
            name: {**summarize(measured, rng), "times": times[name]}
            for name, measured in found.items()
        },
        "against": {
            kind: against(found[kind], found[stranger], rng) for kind, stranger in STRANGER.items()
        },
    }


def against(
    ours: Sequence[Pair], strangers: Sequence[Pair], rng: np.random.Generator
) -> dict[str, Any]:
    """What ours leaves the others, to what the stranger leaves them, turn by turn."""
    found = {}
    for measure in ("rounds", "tasks"):
        turns = zip(ours, strangers, strict=True)
        ratio = Paired.of([a.ratio(measure) / b.ratio(measure) for a, b in turns], rng)
        found[measure] = {**ratio.to_plain(), "verdict": str(ratio.verdict(*BOUNDS))}
    return found


def summarize(pairs: Sequence[Pair], rng: np.random.Generator) -> dict[str, Any]:
    ratios = {
        measure: Paired.of([pair.ratio(measure) for pair in pairs], rng) for measure in MEASURES
    }
    return {
        "ratios": {
            measure: {**found.to_plain(), "verdict": str(found.verdict(*BOUNDS))}
            for measure, found in ratios.items()
        },
        **{
            side: {
                name: statistics.median(getattr(getattr(pair, side), name) for pair in pairs)
                for name in ("rounds", "tasks", "busy_cores", "node_cores")
            }
            for side in ("off", "on")
        },
    }
