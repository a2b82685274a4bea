"""Rounds of exchanges with the window and the in-neighbours of the header.

a sends 4 at 3.1: 0.5     value 4 of a, 0.5, for exchange 1 of iteration 3
take 3.1                  asks for the exchange
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.rounds import Rounds
from p2pdo.types import Value


class Machine(Protocol):
    def receive(self, sender: int, seq: int, tag: Tag, value: Value) -> None: ...
    def take(self, tag: Tag) -> dict[int, Value] | None: ...
    def missing(self) -> list[str]: ...


def interpreter(window: str, *senders: str) -> Callable[[str], list[str]]:
    return interpret(Rounds(enumerate(senders), int(window)), senders)


def interpret(machine: Machine, senders: tuple[str, ...]) -> Callable[[str], list[str]]:
    """The same conversation with any machine of that shape."""

    def answer(line: str) -> list[str]:
        first, *words = line.replace(":", "").split()
        if first == "take":
            taken = machine.take(tag(words[0]))
            if taken is None:
                return [f"waits for {' and '.join(machine.missing())}"]
            return ["took " + " ".join(f"{senders[j]}={v}" for j, v in taken.items())]
        _sends, seq, _at, place, value = words
        sender = senders.index(first) if first in senders else len(senders)
        machine.receive(sender, int(seq), tag(place), float(value))
        return []

    def careful(line: str) -> list[str]:
        try:
            return answer(line)
        except RemoteProtocolError as error:
            return [f"refused: {error.message}"]

    return careful


def tag(place: str) -> Tag:
    iteration, phase = map(int, place.split("."))
    return Tag(iteration, phase, EffectKind.MIX)
