"""What benchmarks/isolation.py prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from isolating.disturbers import KINDS, LIMITED, STRANGER
from isolating.measuring import MEASURES

from p2pdo.benchmarks.pairs import Verdict

STALL_BOUND_MS = 50.0


CLAIMED = (*KINDS, *LIMITED.values())


def show(figures: Mapping[str, Any]) -> None:
    kinds = figures["kinds"]
    off = kinds["control"]["off"]
    print(
        f"undisturbed: {off['rounds']:,.0f} rounds/s, {off['tasks']:,.0f} tasks/s, "
        f"{off['node_cores']:.2f} cores for the nodes"
    )
    times = ", ".join(f"{kind} {kinds[kind]['times']}" for kind in CLAIMED if "loop" not in kind)
    print(f"nice of the workers {figures['nice']}, limited are those with cpu = {figures['cpu']:g}")
    print(f"failures of tasks: {times}")
    print()
    print(
        f"{'beside':<19}{'what':<8}{'on : off (95 % interval)':<28}{'pairs':<7}"
        f"{'0.95 to 1.05':<16}busy cores"
    )
    for name in ("control", *CLAIMED, *STRANGER.values(), "loop here"):
        show_kind(name, kinds[name], figures["cores"])
    for kind, ratios in figures["against"].items():
        for measure, ratio in ratios.items():
            name = f"{kind} : stranger's" if measure == "rounds" else ""
            print(f"{name:<19}{measure:<8}{in_words(ratio):<35}{ratio['verdict']}")
    print()
    print(f"that the others' rates stay within 5 %: {conclusion(kinds, KINDS)}")
    print(f"with cpu = {figures['cpu']:g}: {conclusion(kinds, LIMITED.values())}")
    for name, stall in figures["stalls"].items():
        who = name.removesuffix("_ms")
        print(f"longest stall: {who} {stall:.1f} ms, bound {STALL_BOUND_MS:g} ms")


def show_kind(name: str, kind: Mapping[str, Any], cores: int) -> None:
    is_claimed = name in ("control", *CLAIMED)
    for measure in MEASURES:
        ratio = kind["ratios"][measure]
        told = ratio["verdict"] if is_claimed and measure != "cpu" else ""
        busy = ""
        if measure == MEASURES[0]:
            busy = " off, ".join(f"{kind[side]['busy_cores']:.1f}" for side in ("off", "on"))
            busy += f" on, of {cores}"
        first = name if measure == MEASURES[0] else ""
        row = f"{first:<19}{measure:<8}{in_words(ratio):<28}{ratio['pairs']:<7}{told:<16}{busy}"
        print(row.rstrip())


def in_words(ratio: Mapping[str, Any]) -> str:
    return f"{ratio['median']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def conclusion(kinds: Mapping[str, Any], names: Iterable[str]) -> str:
    """What the rates say of the claim for these."""
    if verdict_of(kinds["control"]) is not Verdict.HOLDS:
        return "nothing is shown: the control itself is not within 5 %; use a quieter machine"
    verdicts = {name: verdict_of(kinds[name]) for name in names}
    found = {
        verdict: [name.partition(",")[0] for name, one in verdicts.items() if one is verdict]
        for verdict in (Verdict.HOLDS, Verdict.FAILS, Verdict.NOT_SHOWN)
    }
    return "; ".join(f"{verdict} for {', '.join(of)}" for verdict, of in found.items() if of)


def verdict_of(kind: Mapping[str, Any]) -> Verdict:
    """The worst of its rates; nothing is shown by a worker that hardly starts."""
    verdicts = {Verdict(kind["ratios"][measure]["verdict"]) for measure in ("rounds", "tasks")}
    is_repeated = kind["times"] is not None
    if is_repeated and 2 * kind["times"] < kind["ratios"]["rounds"]["pairs"]:
        return Verdict.NOT_SHOWN
    order = (Verdict.FAILS, Verdict.NOT_SHOWN, Verdict.HOLDS)
    return next(verdict for verdict in order if verdict in verdicts)
