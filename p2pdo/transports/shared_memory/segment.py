"""Segments: what one node sends in one workload, in memory that its neighbours on this host read.

A segment is a file without a name (memfd), so nothing is left behind whatever kills its owner. A
neighbour opens it by the owner's process and descriptor, read-only: it can change nothing that
others read, and because the file may grow but never shrink, no owner can make a reader's access
fail.

    page 0      magic · nonce · events u32 · flags u32 · published u64 · consumed u64 · slots
    slot        offset, capacity, length: where the record of an exchange is; and its version
    record      seq · iteration · phase · effect · number of entries; then for each entry its
                target (a node's index, -1 for all), its layout and its payload

`published` counts the exchanges that are written; `consumed` those whose values from neighbours
are no longer looked at; exchange k lies in slot k mod `SLOTS`. `events` changes with each change of
anything, and is the word that neighbours wait for. Each word has one writer, the owner. The words
are written after what they announce.

Nodes that iterate send the same layout again and again. A slot's version changes only when anything
but the numbers does; so both ends make their arrays of its memory once, and then only copy into
them and look at them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import mmap
import os
import secrets
import stat
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.rounds import disagreement
from p2pdo.protocol.values import Layout
from p2pdo.transports.shared_memory.futex import Futex
from p2pdo.types import Value
from p2pdo.wire.arrays import SMALL, Part, pack, reader

SLOTS = 2
"""Two are enough where neighbours are neighbours both ways: who publishes k+1 has consumed k-1."""

OFFER_LIMIT = 512
_PAGE = mmap.PAGESIZE
_ALIGNMENT = 64
_MAGIC = b"p2pdoSM1"
_NAME = "p2pdo"
_NONCE = slice(8, 24)
_EVENTS, _FLAGS = 6, 7  # in words of four bytes
_PUBLISHED, _CONSUMED, _TABLE = 4, 5, 8  # in words of eight
_FINISHED = 1
_RECORD = struct.Struct("<QQIII4x")
_ENTRY = struct.Struct("<qQQ")
_TO_ALL = -1
_EFFECTS = {int(kind): kind for kind in EffectKind}


class Entry(NamedTuple):
    """One value in a record, as it is written."""

    target: int
    layout: bytes
    parts: list[Part]
    size: int


@dataclass(frozen=True, slots=True)
class Offer:
    """How a neighbour finds a segment."""

    host: str
    pid: int
    descriptor: int
    nonce: str

    def to_bytes(self) -> bytes:
        return json.dumps([self.host, self.pid, self.descriptor, self.nonce]).encode()

    @classmethod
    def parse(cls, data: bytes) -> Offer | None:
        """What a peer sent; None where it is no offer."""
        with contextlib.suppress(ValueError, TypeError):
            if len(data) <= OFFER_LIMIT:
                host, pid, descriptor, nonce = json.loads(data)
                if isinstance(host, str) and isinstance(nonce, str):
                    return cls(host, int(pid), int(descriptor), nonce)
        return None


@lru_cache(maxsize=1)
def this_host() -> str:
    """Equal for two processes that can open each other's memory, if anything is: kernel, user."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{Path('/proc/self/ns/pid').readlink()}:{os.getuid()}"


class _Mapped:
    """A segment's memory, as its owner or a neighbour sees it."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.size = len(memory)
        self.bytes = memoryview(memory)
        self.words = self.bytes[:_PAGE].cast("Q")
        self.halves = self.bytes[:_PAGE].cast("I")
        base = int(np.frombuffer(memory, np.uint8, 1).__array_interface__["data"][0])
        self.events = base + 4 * _EVENTS  # its address

    def slot(self, seq: int) -> tuple[int, int, int]:
        """Offset, capacity and length."""
        at = _slot_at(seq)
        return self.words[at], self.words[at + 1], self.words[at + 2]

    def head(self, offset: int) -> memoryview:
        """A record's, in words, which are compared faster than bytes."""
        return self.bytes[offset : offset + _RECORD.size].cast("Q")

    def version(self, seq: int) -> int:
        return self.words[_slot_at(seq) + 3]


def _slot_at(seq: int) -> int:
    return _TABLE + 4 * (seq % SLOTS)


class Written(NamedTuple):
    """A record for all, as both ends keep it: its head and its value in that memory."""

    version: int
    head: memoryview
    value: Value
    layout: Layout


class Segment:
    """This node's own."""

    def __init__(self, futex: Futex) -> None:
        """Makes it, of one page.

        Raises:
            OSError: there is no memory for it, or no descriptor.
        """
        self._futex = futex
        self._lock = threading.Lock()  # growing and closing are on two threads
        self._descriptor = os.memfd_create(_NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        nonce = secrets.token_bytes(16)
        os.ftruncate(self._descriptor, _PAGE)
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        self._mapped = self._map()
        self._mapped.bytes[:8] = _MAGIC
        self._mapped.bytes[_NONCE] = nonce
        self._written: list[Written | None] = [None] * SLOTS
        self._head: memoryview | None = None
        self.offer = Offer(this_host(), os.getpid(), self._descriptor, nonce.hex())

    @property
    def published(self) -> int:
        return self._mapped.words[_PUBLISHED]

    @property
    def head(self) -> memoryview | None:
        """Of the last record, as long as it is there; None where it is not one for all."""
        return self._head

    def publish(self, outgoing: Outgoing) -> None:
        """Writes the next exchange's values, over those of `SLOTS` exchanges before."""
        seq = self.published
        written = self._written[seq % SLOTS]
        if written and outgoing.each is None and written.layout.fits(outgoing.value):
            _fill(written.value, outgoing.value)
            _write_head(written.head, 0, seq, outgoing.tag, 1)
        else:
            self._write(seq, outgoing)
            written = self._written[seq % SLOTS]
        self._head = None if written is None else written.head
        words = self._mapped.words
        words[_CONSUMED] = seq  # what came for earlier exchanges is looked at no more
        words[_PUBLISHED] = seq + 1
        self._tell()

    def _write(self, seq: int, outgoing: Outgoing) -> None:
        """A record of a layout that is not in this slot yet."""
        entries = list(_entries(outgoing))
        length = _RECORD.size + sum(_size_with_gaps(entry) for entry in entries)
        mapped = self._with_room(seq, length)
        offset = mapped.slot(seq)[0]
        _write_head(mapped.bytes, offset, seq, outgoing.tag, len(entries))
        at = offset + _RECORD.size
        for entry in entries:
            at = _write_entry(mapped.bytes, at, entry)
        version = mapped.version(seq) + 1
        mapped.words[_slot_at(seq) + 2] = length
        mapped.words[_slot_at(seq) + 3] = version
        self._written[seq % SLOTS] = None
        if outgoing.each is None:
            layout, size = entries[0].layout, entries[0].size
            value = reader(layout).view(mapped.bytes[at - size : at])
            if value is not None:
                head = mapped.head(offset)
                self._written[seq % SLOTS] = Written(version, head, value, Layout(value))

    def finish(self) -> None:
        """Nothing follows, and nothing that came is looked at any more."""
        self._mapped.words[_CONSUMED] = self.published
        self._mapped.halves[_FLAGS] |= _FINISHED
        self._tell()

    def close(self) -> None:
        """Nobody may open it any more. Who has it open keeps it until it lets go."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _tell(self) -> None:
        halves = self._mapped.halves
        halves[_EVENTS] = (halves[_EVENTS] + 1) & 0xFFFFFFFF
        self._futex.wake(self._mapped.events)

    def _with_room(self, seq: int, length: int) -> _Mapped:
        """The memory, with a slot of that length for this exchange."""
        offset, capacity, _ = self._mapped.slot(seq)
        if length <= capacity:
            return self._mapped
        with self._lock:
            if self._descriptor < 0:
                raise OSError("the segment is closed")
            start = self._mapped.size
            grown = -(-length // _PAGE) * _PAGE
            os.ftruncate(self._descriptor, start + grown)
            if capacity:
                _give_back(self._descriptor, offset, capacity)
            self._mapped = self._map()
        at = _slot_at(seq)
        self._mapped.words[at], self._mapped.words[at + 1] = start, grown
        return self._mapped

    def _map(self) -> _Mapped:
        return _Mapped(mmap.mmap(self._descriptor, 0))


class Neighbour:
    """A neighbour's segment, open for reading."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self._descriptor = descriptor
        self._mapped = self._map()
        self._written: list[Written | None] = [None] * SLOTS

    def __del__(self) -> None:
        os.close(self._descriptor)

    @classmethod
    def open(cls, name: str, offer: Offer) -> Neighbour:
        """Opens what a neighbour offers.

        Raises:
            OSError: it cannot be opened from here, or is none.
        """
        if offer.host != this_host():
            raise OSError("it is on another host, in another container or of another user")
        path = Path(f"/proc/{offer.pid}/fd/{offer.descriptor}")
        if not str(path.readlink()).startswith(f"/memfd:{_NAME}"):
            raise OSError("it is no segment")
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _check(descriptor, bytes.fromhex(offer.nonce))
        except (OSError, ValueError) as error:
            os.close(descriptor)
            raise OSError(f"it is not what was offered: {error}") from None
        return cls(name, descriptor)

    @property
    def published(self) -> int:
        return self._mapped.words[_PUBLISHED]

    @property
    def consumed(self) -> int:
        return self._mapped.words[_CONSUMED]

    @property
    def has_finished(self) -> bool:
        """Whether it publishes nothing more; look at `published` after this."""
        return bool(self._mapped.halves[_FLAGS] & _FINISHED)

    @property
    def events(self) -> int:
        return self._mapped.halves[_EVENTS]

    @property
    def address(self) -> int:
        """Where `events` is."""
        return self._mapped.events

    def read(self, seq: int, tag: Tag, node: int, head: memoryview | None = None) -> Value:
        """What it published for `node` in an exchange, which must be the one of `tag`.

        `head` is that of the reader's own record of that exchange: theirs has the same words.

        Arrays may be views of the segment: they are valid until this node has consumed the
        exchange.

        Raises:
            RemoteProtocolError: it is another exchange, or what is written there is none.
        """
        written = self._written[seq % SLOTS]
        if written is not None and written.version == self._mapped.version(seq):
            if written.head != head:
                self._check_head(written.head, seq, tag)
            return written.value
        mapped = self._reaching(seq)
        offset, _, length = mapped.slot(seq)
        count = self._check_head(mapped.head(offset), seq, tag)
        return self._value(seq, mapped.bytes[offset : offset + length], offset, count, node)

    def _check_head(self, head: memoryview, seq: int, tag: Tag) -> int:
        """Looks whether the record is of this exchange; returns the number of its entries."""
        theirs, iteration, phase, effect, count = _RECORD.unpack(head)
        if theirs != seq or effect not in _EFFECTS:
            raise self._nonsense(f"exchange {seq}")
        if (iteration, phase, effect) != (tag.iteration, tag.phase, tag.effect):
            raise disagreement(self.name, Tag(iteration, phase, _EFFECTS[effect]), tag)
        return int(count)

    def _reaching(self, seq: int) -> _Mapped:
        """The memory, mapped as far as the exchange's record."""
        offset, _, length = self._mapped.slot(seq)
        if offset + length > self._mapped.size:
            self._mapped = self._map()
            offset, _, length = self._mapped.slot(seq)
        if not _PAGE <= offset <= offset + _RECORD.size <= offset + length <= self._mapped.size:
            raise self._nonsense("a slot")
        return self._mapped

    def _value(self, seq: int, record: memoryview, offset: int, count: int, node: int) -> Value:
        at = _RECORD.size
        for _ in range(count):
            try:
                target, layout_size, size = _ENTRY.unpack_from(record, at)
            except struct.error:
                break
            at += _ENTRY.size
            layout = bytes(record[at : at + layout_size])
            start = _payload_at(offset + at + layout_size, layout) - offset
            at = start + size
            if target == _TO_ALL:
                self._keep(seq, offset, layout, record[start:at])
            if target in (_TO_ALL, node):
                return reader(layout).read(record[start:at])
        raise self._nonsense("a value for this node")

    def _keep(self, seq: int, offset: int, layout: bytes, payload: memoryview) -> None:
        """Makes arrays of this slot's memory, for as long as its version stays."""
        self._written[seq % SLOTS] = None
        value = reader(layout).view(payload) if len(payload) == reader(layout).size else None
        if value is not None:
            version, head = self._mapped.version(seq), self._mapped.head(offset)
            self._written[seq % SLOTS] = Written(version, head, value, Layout(value))

    def _nonsense(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"{self.name}'s shared memory does not hold {what} where it says",
            hint="is the same version of p2pdo installed on both? --lane grpc does without it",
            node=self.name,
        )

    def _map(self) -> _Mapped:
        return _Mapped(mmap.mmap(self._descriptor, 0, prot=mmap.PROT_READ))


def _check(descriptor: int, nonce: bytes) -> None:
    """Looks before anything is mapped.

    Raises:
        OSError: it is not the segment with this nonce, or one that its owner could shrink.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size < _PAGE:
        raise OSError("no memory")
    if not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
        raise OSError("it could shrink")
    head = os.pread(descriptor, _NONCE.stop, 0)
    if head != _MAGIC + nonce:
        raise OSError("another one")


def _entries(outgoing: Outgoing) -> Iterator[Entry]:
    each = {_TO_ALL: outgoing.value} if outgoing.each is None else outgoing.each
    for target, value in each.items():
        layout, parts = pack(value)
        yield Entry(target, layout, parts, sum(map(len, parts)))


def _size_with_gaps(entry: Entry) -> int:
    return _ENTRY.size + len(entry.layout) + entry.size + 2 * _ALIGNMENT


def _payload_at(at: int, layout: bytes) -> int:
    """The first place from here on where the value's largest array is aligned."""
    return -(-at // _ALIGNMENT) * _ALIGNMENT + reader(layout).shift


def _write_head(memory: memoryview, at: int, seq: int, tag: Tag, entries: int) -> None:
    _RECORD.pack_into(memory, at, seq, tag.iteration, tag.phase, int(tag.effect), entries)


def _fill(place: Value, value: Value) -> None:
    """Copies every array into its place in a value of the same layout."""
    if isinstance(place, tuple):
        for a, b in zip(place, value, strict=True):  # type: ignore[arg-type]
            if isinstance(a, np.ndarray):
                a[...] = b
            else:
                _fill(a, b)
    elif isinstance(place, np.ndarray):
        place[...] = value
    elif isinstance(place, dict):
        for key, a in place.items():
            _fill(a, value[key])  # type: ignore[index,call-overload]


def _write_entry(memory: memoryview, at: int, entry: Entry) -> int:
    """Writes an entry; where its payload ends."""
    _ENTRY.pack_into(memory, at, entry.target, len(entry.layout), entry.size)
    at += _ENTRY.size
    end = at + len(entry.layout)
    memory[at:end] = entry.layout
    at = _payload_at(end, entry.layout)
    for part in entry.parts:
        _copy(memory[at : at + len(part)], part)
        at += len(part)
    return at


def _copy(to: memoryview, part: Part) -> None:
    """NumPy lets go of the interpreter while it copies; a memoryview does not."""
    if len(part) > SMALL:
        np.copyto(np.frombuffer(to, np.uint8), np.frombuffer(part, np.uint8))
    else:
        to[:] = part


def _give_back(descriptor: int, offset: int, length: int) -> None:
    """Returns a slot's memory to the system: a larger one has taken its place.

    Readers that still look at it see zeros, and none does: whoever has published the exchange
    that is to be written here has consumed what is there.
    """
    import ctypes

    keep_size, punch_hole = 0x01, 0x02
    call = ctypes.CDLL(None).fallocate
    call.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long)
    call(descriptor, keep_size | punch_hole, offset, length)
