"""Frames ↔ bytes.

A stream carries writes; a write is a sequence of frames:

    u32 length of the rest · u8 kind · u16 header length · header (protobuf) · payload

Payloads up to `CHUNK` travel whole, larger ones in pieces that follow each other directly, so
that no write is larger than `WRITE_LIMIT` and a receiver allocates a large value once, after its
announced size was checked. `pack_frames` puts many small frames into one write, because a write
costs the same whatever it carries. A frame from `ALONE` on has one of its own, and its header is
padded so that the largest array in it lies aligned: the receiver's value is a view of the write.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from google.protobuf.message import DecodeError, Message

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.counting import Calls
from p2pdo.protocol.frames import Ack, Bye, Data, EffectKind, Frame, Hello, Tag
from p2pdo.protocol.judging import Report
from p2pdo.protocol.values import size_of
from p2pdo.types import Array, Value, WorkloadId
from p2pdo.wire.arrays import ALIGNMENT, Part, pack, reader
from p2pdo.wire.v1 import peer_pb2 as pb

PROTOCOL = 2
CHUNK = 4 * 1024 * 1024
WRITE_LIMIT = 5 * 1024 * 1024
"""More than a piece and the largest header."""
ALONE = 1024 * 1024
"""Bytes of a frame that cost more to copy into a common write than a write of its own does."""
VALUE_LIMIT = 1 << 30
"""Bytes of one value that a receiver makes room for, unless told otherwise."""
SHARED = 256 * 1024
"""Bytes of a value whose frame is kept for the next peer that it goes to."""
SMALLEST_PIECE = 64 * 1024
"""A smaller one only ends a value: who sends crumbs only wants to keep the receiver busy."""
WORDS = 500
"""Characters of a peer's reason that are kept, and of a name that are accepted."""

_LINK, _HELLO, _VALUE, _CHUNK, _ACK, _BYE, _OBSERVATION, _VERDICT = range(1, 9)
_ATTACHED = {False: pb.ATTACHED_NO, True: pb.ATTACHED_YES, None: pb.ATTACHED_UNKNOWN}
_IS_ATTACHED = {number: attached for attached, number in _ATTACHED.items()}
_EFFECTS = {int(kind): kind for kind in EffectKind}
_PREFIX = struct.Struct("<IBH")
_LENGTH = 4  # bytes of the length itself


@dataclass(frozen=True, slots=True)
class Link:
    """Who is at the other end; the first frame of each direction."""

    node: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The observer's judgement of an observed iteration."""

    iteration: int
    stop: bool


Message_: TypeAlias = "Link | tuple[WorkloadId, Frame] | Report | Verdict"
"""What a stream carries: who speaks, a workload's frame, or the observer's dialogue."""


# ---- out ----


class Encoder:
    """Encodes messages; a value that goes to several peers, one after another, is encoded once.

    Only the last one is kept, and only a small one.

    Attributes:
        headers: bytes of the frames around values, beside the values' own, by workload.
    """

    def __init__(self) -> None:
        self.headers: Counter[WorkloadId] = Counter()
        self._around = 0  # the value that is kept
        self._key: tuple[object, ...] = ()  # all that is in its frame but the value
        self._value: Value = ()
        self._frame: tuple[bytes, ...] = ()

    def encode(self, message: Message_) -> Iterable[bytes]:
        """The frames of a message, in order."""
        match message:
            case (workload, Data(seq, tag, value, ack)):
                key = workload, seq, tag, ack
                if value is not self._value or key != self._key:
                    size = size_of(value)
                    if size > SHARED:
                        return self._counted(workload, value, encode(message))
                    self._key, self._value, self._frame = key, value, tuple(encode(message))
                    self._around = len(self._frame[0]) - size
                self.headers[workload] += self._around
                return self._frame
            case _:
                return encode(message)

    def _counted(
        self, workload: WorkloadId, value: Value, frames: Iterator[bytes]
    ) -> Iterator[bytes]:
        """Frames of a large value, one at a time."""
        self.headers[workload] -= size_of(value)
        for frame in frames:
            self.headers[workload] += len(frame)
            yield frame


def encode(message: Message_) -> Iterator[bytes]:
    """The frames of a message, in order."""
    match message:
        case Link(node, boot_id):
            yield _frame(_LINK, pb.Link(protocol=PROTOCOL, node=node, boot_id=boot_id))
        case Verdict(iteration, stop):
            yield _frame(_VERDICT, pb.Verdict(iteration=iteration, stop=stop))
        case Report():
            yield from _encode_report(message)
        case (workload, frame):
            yield from _encode_frame(workload, frame)


def _encode_frame(workload: WorkloadId, frame: Frame) -> Iterator[bytes]:
    match frame:
        case Data(seq, tag, value, ack):
            layout, parts = pack(value)
            size = sum(map(len, parts))
            header = pb.Value(
                workload_id=workload,
                seq=seq,
                iteration=tag.iteration,
                phase=tag.phase,
                effect=int(tag.effect),
                layout=layout,
                size=size,
            )
            if ack is not None:
                header.receive_next, header.credit_to = ack
            yield from _with_payload(_VALUE, header, parts, size)
        case Ack(receive_next, credit_to):
            yield _frame(
                _ACK,
                pb.Ack(workload_id=workload, receive_next=receive_next, credit_to=credit_to),
            )
        case Hello(digest, receive_next, credit_to, answer, offer, attached, share):
            yield _frame(
                _HELLO,
                pb.Hello(
                    workload_id=workload,
                    topology_digest=digest,
                    receive_next=receive_next,
                    credit_to=credit_to,
                    answer=answer,
                    offer=offer,
                    attached=_ATTACHED[attached],
                    share=share,
                ),
            )
        case Bye(reason):
            yield _frame(_BYE, pb.Bye(workload_id=workload, reason=reason))


def _encode_report(report: Report) -> Iterator[bytes]:
    layout, parts = pack(report.x)
    header = pb.Observation(
        node=report.node,
        iteration=report.iteration,
        layout=layout,
        size=sum(map(len, parts)),
        bytes_sent=report.bytes_sent,
        messages_sent=report.messages_sent,
        calls=pb.Calls(
            gradients=report.calls.gradients,
            values=report.calls.values,
            proxes=report.calls.proxes,
        ),
    )
    yield from _with_payload(_OBSERVATION, header, parts, header.size)


def _frame(kind: int, header: Message, parts: Iterable[Part] = ()) -> bytes:
    head = header.SerializeToString()
    size = sum(map(len, parts)) if parts else 0
    length = _PREFIX.size - _LENGTH + len(head) + size
    return b"".join((_PREFIX.pack(length, kind, len(head)), head, *parts))


def _with_payload(kind: int, header: Message, parts: list[Part], size: int) -> Iterator[bytes]:
    if size >= ALONE:
        _align(header)
    if size <= CHUNK:
        yield _frame(kind, header, parts)
        return
    pieces = _pieces(parts)
    yield _frame(kind, header, next(pieces))
    for offset, piece in enumerate(pieces, 1):
        yield _frame(_CHUNK, pb.Chunk(offset=offset * CHUNK), piece)


def _align(header: Any) -> None:
    """Pads the header of a frame that begins a write: its payload begins at an aligned place.

    The bytes of a Python object begin at one.
    """
    header.padding = b" "
    over = _PREFIX.size + header.ByteSize() - reader(header.layout).shift
    header.padding = bytes(1 + -over % ALIGNMENT)


def _pieces(parts: list[Part]) -> Iterator[list[Part]]:
    """The payload in pieces of `CHUNK` bytes, the last one shorter; nothing is copied."""
    held: list[Part] = []
    room = CHUNK
    for part in parts:
        view = memoryview(part)
        while len(view) >= room:
            yield [*held, view[:room]]
            held, view, room = [], view[room:], CHUNK
        if view:
            held.append(view)
            room -= len(view)
    if held:
        yield held


def pack_frames(frames: Iterable[bytes]) -> Iterator[bytes]:
    """Writes of at most `WRITE_LIMIT` bytes out of frames."""
    held: list[bytes] = []
    size = 0
    for frame in frames:
        is_alone = len(frame) >= ALONE
        if held and (is_alone or size + len(frame) > WRITE_LIMIT):
            yield b"".join(held)
            held, size = [], 0
        if is_alone:
            yield frame
        else:
            held.append(frame)
            size += len(frame)
    if held:
        yield held[0] if len(held) == 1 else b"".join(held)


# ---- in ----


class Decoder:
    """Turns one stream's writes back into messages.

    Raises from `feed`:
        RemoteProtocolError: close the stream. Anything else is a bug.
    """

    def __init__(
        self, wants: Callable[[WorkloadId], bool] = lambda _: True, limit: int | None = None
    ) -> None:
        """A large value of a workload that is not wanted is read and not kept.

        A value of more than `limit` bytes is refused; `VALUE_LIMIT` where none is given.
        """
        self.wants = wants
        self._limit = VALUE_LIMIT if limit is None else limit
        self._header: Any = None  # of the payload that is being put together
        self._buffer: Array | None = None  # for it, where it is wanted
        self._filled = 0

    def feed(self, data: bytes) -> Iterator[Message_]:
        """The messages that `data` completes."""
        view = memoryview(data)
        start = 0
        while start < len(data):
            kind, payload_at, end = _frame_at(data, start)
            header = data[start + _PREFIX.size : payload_at]
            start = end
            message = self._message(kind, header, view[payload_at:end])
            if message is not None:
                yield message

    def _message(self, kind: int, header: bytes, payload: memoryview) -> Message_ | None:
        if kind == _CHUNK:
            return self._continue(_parse(pb.Chunk, header), payload)
        if self._header is not None:
            raise RemoteProtocolError("a large value was broken off by another frame")
        if kind in (_VALUE, _OBSERVATION):
            cls = pb.Value if kind == _VALUE else pb.Observation
            return self._begin(_parse(cls, header), payload)
        if len(payload):
            raise RemoteProtocolError("a frame without a value has a payload")
        return _plain_message(kind, header)

    def _begin(self, header: Any, payload: memoryview) -> Message_ | None:
        read = reader(header.layout)
        if header.size != read.size or len(payload) > header.size:
            raise RemoteProtocolError(
                f"a value of {header.size} bytes is announced for a layout of {read.size}"
            )
        if header.size > self._limit:
            raise RemoteProtocolError(
                f"a value of {header.size} bytes is announced; "
                f"the limit is {self._limit} (p2pdo-node --value-limit)"
            )
        if len(payload) == header.size:
            return _valued(header, read.read(payload))
        self._header = header
        if isinstance(header, pb.Observation) or self.wants(WorkloadId(header.workload_id)):
            self._buffer = np.empty(read.shift + header.size, np.uint8)[read.shift :]
        self._filled = 0
        return self._fill(payload)

    def _continue(self, chunk: pb.Chunk, payload: memoryview) -> Message_ | None:
        if self._header is None or chunk.offset != self._filled:
            raise RemoteProtocolError("a piece of a value came out of place")
        if len(payload) < min(SMALLEST_PIECE, self._header.size - self._filled):
            raise RemoteProtocolError(f"a value came in pieces of {len(payload)} bytes")
        return self._fill(payload)

    def _fill(self, payload: memoryview) -> Message_ | None:
        header, buffer, end = self._header, self._buffer, self._filled + len(payload)
        if end > header.size:
            raise RemoteProtocolError("a value is longer than announced")
        if buffer is not None:
            buffer[self._filled : end] = np.frombuffer(payload, np.uint8)
        self._filled = end
        if end < header.size:
            return None
        self._header = self._buffer = None
        return None if buffer is None else _valued(header, reader(header.layout).read(buffer.data))


def _frame_at(data: bytes, start: int) -> tuple[int, int, int]:
    """Of the frame that begins at `start`: its kind, where its payload begins, where it ends."""
    if len(data) - start < _PREFIX.size:
        raise RemoteProtocolError("a frame is cut short")
    length, kind, header_length = _PREFIX.unpack_from(data, start)
    end = start + _LENGTH + length
    payload_at = start + _PREFIX.size + header_length
    if not payload_at <= end <= len(data):
        raise RemoteProtocolError("a frame's lengths do not fit")
    return kind, payload_at, end


def _parse(cls: type[Any], header: bytes) -> Any:
    try:
        return cls.FromString(header)
    except DecodeError:
        raise RemoteProtocolError(f"a {cls.__name__} cannot be parsed") from None


def _plain_message(kind: int, header: bytes) -> Message_:
    if kind == _LINK:
        link = _parse(pb.Link, header)
        if link.protocol != PROTOCOL:
            raise RemoteProtocolError(
                f"the peer speaks protocol {link.protocol}, this node {PROTOCOL}",
                hint="install the same version of p2pdo on both",
            )
        if len(link.node) > WORDS or len(link.boot_id) > WORDS:
            raise RemoteProtocolError(f"a peer's name is longer than {WORDS} characters")
        return Link(link.node, link.boot_id)
    if kind == _HELLO:
        hello = _parse(pb.Hello, header)
        frame: Frame = Hello(
            hello.topology_digest,
            hello.receive_next,
            hello.credit_to,
            hello.answer,
            hello.offer,
            _IS_ATTACHED.get(hello.attached, False),
            hello.share,
        )
        return WorkloadId(hello.workload_id), frame
    if kind == _ACK:
        ack = _parse(pb.Ack, header)
        return WorkloadId(ack.workload_id), Ack(ack.receive_next, ack.credit_to)
    if kind == _BYE:
        bye = _parse(pb.Bye, header)
        return WorkloadId(bye.workload_id), Bye(bye.reason[:WORDS])
    if kind == _VERDICT:
        verdict = _parse(pb.Verdict, header)
        return Verdict(verdict.iteration, verdict.stop)
    raise RemoteProtocolError(f"a frame of unknown kind {kind}")


def _valued(header: Any, value: Value) -> Message_:
    if isinstance(header, pb.Observation):
        if not isinstance(value, np.ndarray):
            raise RemoteProtocolError("an observed state is no array")
        asked = header.calls
        calls = Calls(asked.gradients, asked.values, asked.proxes)
        sent = (header.bytes_sent, header.messages_sent)
        return Report(header.node, header.iteration, value, *sent, calls)
    effect = _EFFECTS.get(header.effect)
    if effect is None:
        raise RemoteProtocolError(f"a value answers an unknown effect {header.effect}")
    tag = Tag(header.iteration, header.phase, effect)
    ack = Ack(header.receive_next, header.credit_to) if header.HasField("credit_to") else None
    return WorkloadId(header.workload_id), Data(header.seq, tag, value, ack)
