"""One session with the peer b, on a window of the header's size, in the directions it names.

link up · link down · send VALUE · take · b says hello R C [answer] ·
b says data SEQ VALUE [ack R C] · b says ack R C · b says bye REASON · b says hello-elsewhere
"""

from __future__ import annotations

from collections.abc import Callable

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.frames import Ack, Bye, Data, EffectKind, Frame, Hello, Tag
from p2pdo.protocol.rounds import InEdge
from p2pdo.protocol.session import OutEdge, PeerSession


def interpreter(window: str, *directions: str) -> Callable[[str], list[str]]:
    return Conversation(int(window), directions).careful


class Conversation:
    def __init__(self, window: int, directions: tuple[str, ...]) -> None:
        self.edge = InEdge("b", window) if "in" in directions else None
        self.out = OutEdge(window) if "out" in directions else None
        self.session = PeerSession("b", b"topology", self.edge, self.out, window)

    def careful(self, line: str) -> list[str]:
        before = self.session.state
        try:
            told = self.answer(line)
        except RemoteProtocolError as error:
            return [f"refused: {error.message}"]
        changed = [] if self.session.state is before else [f"now {self.session.state.name}"]
        return changed + told

    def answer(self, line: str) -> list[str]:
        match line.split():
            case ["link", "up"]:
                return list(map(describe, self.session.link_up()))
            case ["link", "down"]:
                self.session.link_down()
                return []
            case ["send", value]:
                return self.send(float(value))
            case ["take"]:
                return self.take()
            case ["b", "says", *words]:
                return list(map(describe, self.session.receive(frame(words))))
        raise AssertionError(line)

    def send(self, value: float) -> list[str]:
        assert self.out is not None
        if not self.out.has_room:
            return ["no room"]
        return list(map(describe, self.session.send(tag(self.out.next), value)))

    def take(self) -> list[str]:
        assert self.edge is not None
        if self.edge.peek() is None:
            return ["not here yet"]
        return [f"took {self.edge.take()}", *map(describe, self.session.taken())]


def tag(seq: int) -> Tag:
    return Tag(seq, 0, EffectKind.MIX)


def frame(words: list[str]) -> Frame:
    match words:
        case ["hello", receive_next, credit_to, *answer]:
            return Hello(b"topology", int(receive_next), int(credit_to), bool(answer))
        case ["hello-elsewhere"]:
            return Hello(b"another topology", 0, 4, answer=False)
        case ["data", seq, value]:
            return Data(int(seq), tag(int(seq)), float(value))
        case ["data", seq, value, "ack", receive_next, credit_to]:
            ack = Ack(int(receive_next), int(credit_to))
            return Data(int(seq), tag(int(seq)), float(value), ack)
        case ["ack", receive_next, credit_to]:
            return Ack(int(receive_next), int(credit_to))
        case ["bye", *reason]:
            return Bye(" ".join(reason))
    raise AssertionError(words)


def describe(frame: Frame) -> str:
    match frame:
        case Hello(_, receive_next, credit_to, answer):
            return f"hello {receive_next} {credit_to}{' answer' if answer else ''}"
        case Data(seq, _, value, None):
            return f"data {seq} {value}"
        case Data(seq, _, value, ack):
            return f"data {seq} {value} {describe(ack)}"
        case Ack(receive_next, credit_to):
            return f"ack {receive_next} {credit_to}"
        case Bye(reason):
            return f"bye {reason}"
