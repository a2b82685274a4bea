"""One session with the peer b, on a window of the header's size, in the directions it names.

link up · link down · send VALUE · take · b says hello R C [answer] · b says data SEQ VALUE ·
b says ack R C · b says bye REASON · b says hello-elsewhere
"""

from __future__ import annotations

from collections.abc import Callable

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.frames import Ack, Bye, Data, EffectKind, Frame, Hello, Tag
from p2pdo.protocol.rounds import InEdge
from p2pdo.protocol.session import OutEdge, PeerSession


def interpreter(window: str, *directions: str) -> Callable[[str], list[str]]:
    size = int(window)
    edge = InEdge("b", size) if "in" in directions else None
    out = OutEdge(size) if "out" in directions else None
    session = PeerSession("b", b"topology", edge, out, size)

    def answer(line: str) -> list[Frame] | str:
        match line.split():
            case ["link", "up"]:
                return session.link_up()
            case ["link", "down"]:
                session.link_down()
                return []
            case ["send", value]:
                if out is not None and not out.has_room:
                    return "no room"
                assert out is not None
                return session.send(tag(out.next), float(value))
            case ["take"]:
                assert edge is not None
                if edge.peek() is None:
                    return "not here yet"
                return [*map_taken(edge.take()), *session.taken()]
            case ["b", "says", *words]:
                return session.receive(frame(words))
        raise AssertionError(line)

    def careful(line: str) -> list[str]:
        before = session.state
        try:
            said = answer(line)
        except RemoteProtocolError as error:
            return [f"refused: {error.message}"]
        told = [said] if isinstance(said, str) else [describe(f) for f in said]
        if session.state is not before:
            told.insert(0, f"now {session.state.name}")
        return told

    return careful


def map_taken(value: object) -> list[Frame]:
    return [Bye(f"took {value}")]  # only to be shown among the frames


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
        case ["ack", receive_next, credit_to]:
            return Ack(int(receive_next), int(credit_to))
        case ["bye", *reason]:
            return Bye(" ".join(reason))
    raise AssertionError(words)


def describe(frame: Frame) -> str:
    match frame:
        case Hello(_, receive_next, credit_to, answer):
            return f"hello {receive_next} {credit_to}{' answer' if answer else ''}"
        case Data(seq, _, value):
            return f"data {seq} {value}"
        case Ack(receive_next, credit_to):
            return f"ack {receive_next} {credit_to}"
        case Bye(text):
            return text
