"""Every asynchronous algorithm of the library obeys every law of its kind.

The laws themselves are tested at the end: planted mistakes must break the law that names them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pdo.algorithms import AsynchronousConsensus, RandomizedGossip, RobustPushSum
from p2pdo.algorithms.asynchronous import ASYNCHRONOUS, Parts
from p2pdo.algorithms.base import Limit
from p2pdo.effects import Here
from p2pdo.protocol.asynchronous.channels import Message, ReceivingEnd, SendingEnd
from p2pdo.protocol.asynchronous.member import Member
from p2pdo.testing import laws
from p2pdo.testing.laws import asynchronous as held


def recorded_cases() -> list[laws.AsynchronousCase]:
    file = Path(__file__).parent / "recursions.py"
    spec = importlib.util.spec_from_file_location("asynchronous_recursions", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.CASES)


CASES = recorded_cases()


def test_every_asynchronous_algorithm_of_the_table_has_its_recursion() -> None:
    held_to = {type(case.algorithm) for case in CASES if case.recursion is not None}
    assert held_to == set(ASYNCHRONOUS.values())


@pytest.mark.parametrize("law", laws.ASYNCHRONOUS_LAWS, ids=laws.name_of)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_law(case: laws.AsynchronousCase, law: laws.AsynchronousLaw) -> None:
    law(case)


@pytest.mark.parametrize("cls", ASYNCHRONOUS.values(), ids=ASYNCHRONOUS)
def test_an_asynchronous_algorithm_says_where_it_goes(cls: type[Any]) -> None:
    assert cls.limit is not Limit.UNSTATED


# ---- planted mistakes ----


def broken(law: laws.AsynchronousLaw, case: laws.AsynchronousCase, says: str) -> None:
    with pytest.raises(laws.BrokenLaw, match=says):
        law(case)


PUSH_SUM = laws.AsynchronousCase(RobustPushSum(), rounds=200, within=1e-9)


def test_increments_in_the_place_of_sums_are_not_all_there_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The local books balance: each node believes what it was sent."""
    take = ReceivingEnd.take

    def give(self: SendingEnd, given: Parts, wakes: int) -> Message:
        for name, part in given.items():
            self.sums[name] = self.sums.get(name, 0) + np.asarray(part)
        self.number += 1
        self.latest = Message(wakes, self.number, given)
        return self.latest

    def take_increment(
        self: ReceivingEnd, message: Message, like: Mapping[str, Any]
    ) -> Parts | None:
        before = dict(self.sums)
        self.sums = {}
        found = take(self, message, like)
        for name, part in (found or {}).items():
            before[name] = before.get(name, 0) + np.asarray(part)
        self.sums = before
        return found

    monkeypatch.setattr(SendingEnd, "give", give)
    monkeypatch.setattr(ReceivingEnd, "take", take_increment)
    broken(held.keeps_its_ledger, PUSH_SUM, "what was sent has not all arrived")
    broken(held.survives_losses, PUSH_SUM, "from the mean of the starts")


def test_a_reply_that_is_dropped_unbalances_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Member, "_reply", lambda *_: None)
    case = laws.AsynchronousCase(RandomizedGossip())
    broken(held.keeps_its_ledger, case, "ledger is off by .* after arrival")


def test_mass_that_is_made_of_nothing_unbalances_the_ledger() -> None:
    case = laws.AsynchronousCase(_Growing())
    broken(held.keeps_its_ledger, case, "ledger is off by .* after wake")


def test_a_memory_outside_the_state_does_not_go_on() -> None:
    case = laws.AsynchronousCase(_Remembering())
    broken(held.goes_on_from_a_state, case, "resumed with other bits")
    broken(held.has_one_trace_a_seed, case, "one seed has two traces")


def test_an_array_that_is_changed_after_it_was_kept_is_seen() -> None:
    broken(held.leaves_arrays_alone, laws.AsynchronousCase(_Overwriting()), "was changed after")


def test_another_recursion_is_another() -> None:
    case = next(case for case in CASES if isinstance(case.algorithm, AsynchronousConsensus))
    wrong = replace(case, algorithm=_Forgetful())
    broken(held.equals_its_recursion, wrong, "off by .* after the")


@dataclass(frozen=True)
class _Growing(RobustPushSum):
    def wake(self, s: Any, problem: Any, here: Here) -> tuple[Any, Mapping[int, Parts]]:
        state, sent = super().wake(s, problem, here)
        return state._replace(u=state.u * 1.001), sent


@dataclass(frozen=True)
class _Remembering(AsynchronousConsensus):
    def __post_init__(self) -> None:
        object.__setattr__(self, "_calls", [0])

    def wake(self, s: Any, problem: Any, here: Here) -> tuple[Any, Mapping[int, Parts]]:
        state, sent = super().wake(s, problem, here)
        calls: list[int] = self._calls  # type: ignore[attr-defined]
        calls[0] += 1
        x = state.x + calls[0] * 1e-3
        return state._replace(x=x), {j: {"x": x} for j in sent}


@dataclass(frozen=True)
class _Overwriting(AsynchronousConsensus):
    def wake(self, s: Any, problem: Any, here: Here) -> tuple[Any, Mapping[int, Parts]]:
        state, sent = super().wake(s, problem, here)
        own = state.x.copy()
        if here.iteration:
            s.x.flags.writeable = True
            s.x[:] = 0
        return state._replace(x=own), sent


@dataclass(frozen=True)
class _Forgetful(AsynchronousConsensus):
    """Takes nothing of the first in-neighbour."""

    def receive(self, s: Any, sender: int, parts: Parts, here: Here) -> tuple[Any, None]:
        if sender == here.in_neighbors[0]:
            return s, None
        return super().receive(s, sender, parts, here)
