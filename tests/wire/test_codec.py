"""Values and frames as bytes and back; and whatever else may come from a network."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from hypothesis.extra import numpy as npst

from p2pdo.dtypes import BFLOAT16, DTYPES, dtype_named
from p2pdo.errors import LocalProtocolError, RemoteProtocolError
from p2pdo.protocol.frames import Ack, Bye, Data, EffectKind, Hello, Tag
from p2pdo.protocol.judging import Report
from p2pdo.protocol.rounds import same_value
from p2pdo.types import Value, WorkloadId
from p2pdo.wire import arrays, codec
from p2pdo.wire.arrays import MAX_AXES, MAX_DEPTH, MAX_PARTS, pack, reader, unpack
from p2pdo.wire.codec import CHUNK, WRITE_LIMIT, Decoder, Link, Verdict, encode, pack_frames
from p2pdo.wire.v1 import peer_pb2 as pb

W = WorkloadId("w")
TAG = Tag(3, 1, EffectKind.EXCHANGE_EACH)


def crossed(value: Value) -> Value:
    layout, parts = pack(value)
    return unpack(layout, b"".join(parts))


def leaves(value: Any) -> Iterator[Any]:
    items = value.values() if isinstance(value, dict) else value
    if isinstance(value, tuple | dict):
        for item in items:
            yield from leaves(item)
    else:
        yield value


# ---- values ----

shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
some_arrays = st.sampled_from(DTYPES).flatmap(
    lambda name: (
        npst.arrays(np.uint16, shapes).map(lambda bits: bits.view(dtype_named(name)))
        if name == BFLOAT16
        else npst.arrays(np.dtype(name), shapes)
    )
)
scalars = st.floats() | st.integers(-(2**63), 2**63 - 1) | st.booleans()
values = st.recursive(
    some_arrays | scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=values)
@settings(deadline=None)
def test_every_value_comes_back_to_the_bit_and_cannot_be_changed(value: Value) -> None:
    back = crossed(value)
    assert same_value(back, value)
    assert not any(leaf.flags.writeable for leaf in leaves(back) if isinstance(leaf, np.ndarray))


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3), (5000,)])
def test_every_dtype_crosses_in_every_memory_layout(name: str, shape: tuple[int, ...]) -> None:
    dtype = dtype_named(name)
    assert dtype is not None
    a = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    twice = np.repeat(a.reshape(-1), 2)
    forms = [a, twice[::2].reshape(shape), a.T.copy().T]
    if name != BFLOAT16:  # it has one byte order
        forms.append(a.astype(dtype.newbyteorder(">")))
    for form in forms:
        back = crossed(form)
        assert isinstance(back, np.ndarray)
        assert (back.dtype, back.shape) == (dtype, shape)
        assert back.dtype.isnative
        assert np.array_equal(back, a)


def test_arrays_behind_odd_bytes_are_aligned() -> None:
    back: Any = crossed((True, np.arange(4.0), True, np.arange(5000.0)))
    assert all(leaf.flags.aligned for leaf in leaves(back) if isinstance(leaf, np.ndarray))
    assert np.array_equal(back[3], np.arange(5000.0))


@pytest.mark.parametrize(
    "value",
    [
        "text",
        None,
        [1.0],
        1j,
        np.array([None]),
        np.array(["a"]),
        np.array([b"a"]),
        np.zeros(1, "datetime64[s]"),
        np.zeros(1, np.longdouble),
        np.zeros(1, "i4,f8"),
        ({"a": object()},),
    ],
)
def test_what_is_no_number_is_not_sent(value: Any) -> None:
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        pack(value)


# ---- layouts that nobody honest sends ----


def tensor(dtype: str, *shape: int) -> pb.Layout:
    return pb.Layout(array=pb.Tensor(dtype=dtype, shape=shape))


def nested(depth: int) -> pb.Layout:
    layout = pb.Layout(scalar=pb.SCALAR_BOOL)
    for _ in range(depth):
        layout = pb.Layout(tuple=pb.Items(items=[layout]))
    return layout


def wide(parts: int) -> pb.Layout:
    return pb.Layout(tuple=pb.Items(items=[pb.Layout(scalar=pb.SCALAR_BOOL)] * parts))


BAD_LAYOUTS = [
    (tensor("object", 1), "dtype 'object'"),
    (tensor("float128", 1), "dtype 'float128'"),
    (tensor("<f8", 1), "dtype '<f8'"),
    (tensor("", 1), "dtype ''"),
    (tensor("int8", *[1] * (MAX_AXES + 1)), f"{MAX_AXES + 1} axes"),
    (tensor("int8", 2**64 - 1, 0), "refused"),
    (tensor("int8", 0, 2**63), "refused"),
    (tensor("int8", *[2**32] * 3), "refused"),
    (nested(MAX_DEPTH + 1), "nested deeper"),
    (wide(MAX_PARTS + 1), "more than"),
    (pb.Layout(tuple=pb.Items(items=[wide(MAX_PARTS // 2)] * 3)), "more than"),
    (pb.Layout(tuple=pb.Items(items=[pb.Layout(tuple=pb.Items())] * 5000)), "more than"),
    (pb.Layout(), "no known kind"),
    (pb.Layout(scalar=pb.SCALAR_UNSPECIFIED), "no known kind"),
    (pb.Layout(dict=pb.Fields(keys=["a"])), "keys do not match"),
    (pb.Layout(dict=pb.Fields(keys=["a", "a"], values=[wide(0)])), "keys do not match"),
    (pb.Layout(dict=pb.Fields(keys=["a", "a"], values=[wide(0)] * 2)), "keys do not match"),
]


@pytest.mark.parametrize(("layout", "says"), BAD_LAYOUTS, ids=[says for _, says in BAD_LAYOUTS])
def test_a_bad_layout_is_refused(layout: pb.Layout, says: str) -> None:
    with pytest.raises(RemoteProtocolError, match=says):
        reader(layout.SerializeToString())


@pytest.mark.parametrize("layout", [b"\xff", b"\x0a\xff", b"\0" * (arrays.MAX_LAYOUT_BYTES + 1)])
def test_what_is_no_layout_is_refused(layout: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"parsed|too large"):
        reader(layout)


def test_the_bounds_themselves_are_allowed() -> None:
    reader(wide(MAX_PARTS - 1).SerializeToString())
    reader(nested(MAX_DEPTH).SerializeToString())
    empty: Any = unpack(tensor("int8", 0, 2**40).SerializeToString(), b"")
    assert empty.shape == (0, 2**40)


@pytest.mark.parametrize("payload", [b"", b"1234567", b"123456789"])
def test_a_payload_of_another_length_is_refused(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="a payload of"):
        unpack(tensor("float64", 1).SerializeToString(), payload)


@pytest.mark.parametrize("size", [3, 50_000])
def test_truth_values_are_zero_or_one(size: int) -> None:
    layout = tensor("bool", size).SerializeToString()
    with pytest.raises(RemoteProtocolError, match="truth values"):
        unpack(layout, b"\1\0" + b"\2" * (size - 2))


def test_many_truth_values_are_checked_without_a_copy_of_them() -> None:
    layout, (part,) = pack(np.ones(1 << 22, bool))
    tracemalloc.start()
    try:
        unpack(layout, part)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


# ---- frames ----

words = st.text(max_size=8)
numbers = st.integers(0, 2**64 - 1)
tags = st.builds(Tag, numbers, st.integers(0, 2**32 - 1), st.sampled_from(EffectKind))
frames = st.one_of(
    st.builds(Hello, st.binary(max_size=32), numbers, numbers, st.booleans()),
    st.builds(Ack, numbers, numbers),
    st.builds(Bye, words),
    st.builds(Data, numbers, tags, values, st.none() | st.builds(Ack, numbers, numbers)),
)
messages = st.one_of(
    st.builds(Link, words, words),
    st.builds(Verdict, numbers, st.booleans()),
    st.tuples(words, frames),
    st.builds(Report, st.integers(0, 2**32 - 1), numbers, some_arrays, numbers, numbers),
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Report):
        fields = ("node", "iteration", "bytes_sent", "messages_sent")
        return same_value(a.x, b.x) and all(getattr(a, f) == getattr(b, f) for f in fields)
    if isinstance(a, tuple) and isinstance(a[1], Data):
        (w, x), (v, y) = a, b
        return (w, x.seq, x.tag, x.ack) == (v, y.seq, y.tag, y.ack) and same_value(x.value, y.value)
    return bool(a == b)


def writes(sent: list[Any]) -> list[bytes]:
    return list(pack_frames(frame for message in sent for frame in encode(message)))


@given(sent=st.lists(messages, max_size=6), apart=st.booleans())
@settings(deadline=None)
def test_messages_come_back_in_order_however_they_are_packed(sent: list[Any], apart: bool) -> None:
    data = [w for m in sent for w in writes([m])] if apart else writes(sent)
    decoder = Decoder()
    got = [message for write in data for message in decoder.feed(write)]
    assert len(got) == len(sent)
    assert all(map(same, sent, got))


@pytest.mark.parametrize(
    "sizes",
    [
        (CHUNK // 8 - 1,),
        (CHUNK // 8,),
        (CHUNK // 8 + 1,),
        (CHUNK // 4,),
        (3 * CHUNK // 8 + 5,),
        (1, CHUNK // 8, 1),
        (CHUNK // 8 - 1, 2, CHUNK // 2),
        (0, CHUNK, 0),
    ],
)
def test_large_values_cross_in_pieces(sizes: tuple[int, ...]) -> None:
    value = tuple(np.random.default_rng(n).random(n) for n in sizes)
    sent = [(W, Data(7, TAG, (True, value))), Link("a", "b"), (W, Ack(1, 2))]
    data = writes(sent)
    assert max(map(len, data)) <= WRITE_LIMIT
    decoder = Decoder()
    got = [message for write in data for message in decoder.feed(write)]
    assert all(map(same, sent, got))


@pytest.mark.parametrize("first", [(), (True,), ({"a": True, "b": np.zeros(3, np.int16)},)])
def test_a_large_array_behind_odd_bytes_is_put_where_it_need_not_be_copied(first: Any) -> None:
    value = (*first, {"x": np.random.default_rng(0).random(1 << 19)}, True)
    data = writes([(W, Data(7, TAG, value))])
    decoder = Decoder()
    tracemalloc.start()
    try:
        got = [message for write in data for message in decoder.feed(write)]
        assert tracemalloc.get_traced_memory()[1] < 1.5 * 8 * (1 << 19)
    finally:
        tracemalloc.stop()
    assert all(map(same, [(W, Data(7, TAG, value))], got))
    assert got[0][1].value[-2]["x"].flags.aligned  # type: ignore[index,union-attr,call-overload]


def test_a_value_is_encoded_once_for_all_that_it_goes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, value = codec.Encoder(), (np.arange(3.0),)
    first = (W, Data(7, TAG, value, Ack(6, 10)))
    once = list(encoder.encode(first))
    monkeypatch.setattr(codec, "encode", lambda _: [b"anew"])
    assert list(encoder.encode((W, Data(7, TAG, value, Ack(6, 10))))) == once
    others: list[Any] = [
        (WorkloadId("v"), Data(7, TAG, value, Ack(6, 10))),
        (W, Data(8, TAG, value, Ack(6, 10))),
        (W, Data(7, Tag(3, 0, EffectKind.MIX), value, Ack(6, 10))),
        (W, Data(7, TAG, (np.arange(3.0),), Ack(6, 10))),
        (W, Data(7, TAG, value, Ack(5, 9))),
        (W, Data(7, TAG, value)),
        (W, Ack(6, 10)),
    ]
    for other in others:
        monkeypatch.undo()
        assert list(encoder.encode(first)) == once
        monkeypatch.setattr(codec, "encode", lambda _: [b"anew"])
        assert list(encoder.encode(other)) == [b"anew"]


def test_no_large_value_is_kept_for_the_next_that_it_goes_to() -> None:
    encoder, small, large = codec.Encoder(), np.zeros(3), np.zeros(codec.SHARED // 8 + 1)
    list(encoder.encode((W, Data(1, TAG, small))))
    list(encoder.encode((W, Data(2, TAG, large))))
    assert encoder._value is small


def test_small_frames_share_a_write_and_no_write_is_larger_than_the_limit() -> None:
    sent: list[Any] = [(W, Data(k, TAG, np.zeros(1000))) for k in range(2000)]
    data = writes(sent)
    assert len(data) == -(-sum(map(len, data)) // WRITE_LIMIT)
    assert max(map(len, data)) <= WRITE_LIMIT


# ---- what may not come ----


def header_of(**fields: Any) -> pb.Value:
    return pb.Value(workload_id="w", seq=1, iteration=1, phase=0, **{"effect": 1, **fields})


def link_of(**fields: Any) -> pb.Link:
    return pb.Link(protocol=codec.PROTOCOL, **fields)


def announced(size: int, layout: pb.Layout | None = None, payload: bytes = b"") -> bytes:
    layout = layout or tensor("uint8", size)
    header = header_of(layout=layout.SerializeToString(), size=size)
    return codec._frame(codec._VALUE, header, [payload])


def chunk(offset: int, payload: bytes) -> bytes:
    return codec._frame(codec._CHUNK, pb.Chunk(offset=offset), [payload])


ACK = codec._frame(codec._ACK, pb.Ack(workload_id="w", receive_next=1, credit_to=2))
FLOAT = tensor("float64", 1)
BROKEN = {
    "a prefix cut short": b"\1\0\0",
    "a length beyond the write": struct.pack("<IBH", 1000, 5, 0),
    "a header longer than its frame": struct.pack("<IBH", 3, 5, 10) + b"\0" * 10,
    "a length below the least": struct.pack("<IBH", 2, 5, 0),
    "an unknown kind": struct.pack("<IBH", 3, 99, 0),
    "a header that does not parse": struct.pack("<IBH", 5, 5, 2) + b"\xff\xff",
    "a payload where none belongs": codec._frame(codec._ACK, pb.Ack(), [b"x"]),
    "another version": codec._frame(codec._LINK, pb.Link(protocol=codec.PROTOCOL + 1)),
    "a terabyte": announced(1 << 40),
    "one byte above the limit": announced(codec.VALUE_LIMIT + 1),
    "a size that is not the layout's": announced(100, tensor("uint8", 99)),
    "more than announced at once": announced(2, payload=b"123"),
    "more than announced in pieces": announced(2, payload=b"1") + chunk(1, b"23"),
    "a piece of nothing": chunk(0, b"1"),
    "a piece out of place": announced(9, payload=b"1") + chunk(2, b"2"),
    "an empty piece": announced(9, payload=b"1") + chunk(1, b""),
    "crumbs": announced(1 << 19) + chunk(0, b"\0"),
    "a name without end": codec._frame(
        codec._LINK, pb.Link(protocol=codec.PROTOCOL, node="a" * 501)
    ),
    "a boot without end": codec._frame(
        codec._LINK, pb.Link(protocol=codec.PROTOCOL, boot_id="a" * 501)
    ),
    "another frame between the pieces": announced(9, payload=b"1") + ACK,
    "an unknown effect": codec._frame(
        codec._VALUE,
        header_of(layout=FLOAT.SerializeToString(), size=8, effect=9),
        [b"\0" * 8],
    ),
    "a state that is no array": codec._frame(
        codec._OBSERVATION,
        pb.Observation(layout=pb.Layout(scalar=pb.SCALAR_INT).SerializeToString(), size=8),
        [b"\0" * 8],
    ),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_is_refused_without_allocating(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError):
            list(Decoder().feed(data))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_large_value_that_nobody_wants_is_read_and_not_kept() -> None:
    wanted, other = WorkloadId("wanted"), WorkloadId("other")
    value = np.zeros(1 << 20)
    sent: list[Any] = [(w, Data(0, TAG, value)) for w in (other, wanted)]
    decoder = Decoder(lambda workload: workload == wanted)
    tracemalloc.start()
    try:
        got = [message for write in writes(sent[:1]) for message in decoder.feed(write)]
        assert tracemalloc.get_traced_memory()[0] < value.nbytes / 2
    finally:
        tracemalloc.stop()
    got += [message for write in writes(sent[1:]) for message in decoder.feed(write)]
    assert all(map(same, sent[1:], got))
    assert len(got) == 1


def test_an_unwanted_value_is_held_to_the_rules_too() -> None:
    decoder = Decoder(lambda _: False)
    assert not list(decoder.feed(announced(9, payload=b"1")))
    with pytest.raises(RemoteProtocolError, match="broken off"):
        list(decoder.feed(ACK))
    with pytest.raises(RemoteProtocolError, match="longer than announced"):
        list(decoder.feed(chunk(1, b"1" * 9)))


def test_of_a_long_reason_the_beginning_is_kept() -> None:
    (message,) = Decoder().feed(b"".join(encode((W, Bye("tired" * 1000)))))
    assert message == (W, Bye("tired" * 100))


SEEDS: list[bytes] = [
    b"".join(writes([message]))
    for message in (
        Link("node-1", "boot"),
        Verdict(5, True),
        (W, Hello(b"d" * 32, 3, 7, answer=False)),
        (W, Hello(b"d" * 32, 3, 7, answer=True, share=b"s" * 32)),
        (W, Ack(3, 7)),
        (W, Bye("done")),
        (W, Data(9, TAG, np.arange(5.0))),
        (W, Data(9, TAG, (1.0, {"a": np.zeros((2, 3), np.float32), "b": True}, np.zeros((0, 4))))),
        (W, Data(9, TAG, np.array([True, False]))),
        Report(1, 2, np.arange(3.0), 4, 5),
    )
] + [
    announced(6, payload=b"123") + chunk(3, b"456"),
    announced(4, pb.Layout(tuple=pb.Items(items=[tensor("int16", 2)])), b"12") + chunk(2, b"34"),
]


def swallow(data: bytes) -> None:
    """Either messages or a RemoteProtocolError, never anything else."""
    decoder = Decoder()
    try:
        for message in decoder.feed(data):
            assert isinstance(message, Link | Verdict | Report | tuple)
    except RemoteProtocolError:
        return


def mutated(rng: np.random.Generator, data: bytes) -> bytes:
    """A few bytes changed, removed, repeated, or set to what lengths are afraid of."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(out) + 1))
        match int(rng.integers(0, 6)):
            case 0 if out:
                out[at % len(out)] ^= 1 << int(rng.integers(0, 8))
            case 1 if out:
                out[at % len(out)] = int(rng.choice([0, 1, 2, 127, 128, 255]))
            case 2:
                del out[at : at + int(rng.integers(1, 4))]
            case 3:
                out[at:at] = rng.bytes(int(rng.integers(1, 4)))
            case 4:
                out[at : at + 4] = b"\xff" * 4
            case 5:
                out[at:at] = out[: int(rng.integers(0, 20))]
    return bytes(out)


@pytest.mark.slow
def test_twenty_thousand_mutated_streams_are_parsed_or_refused() -> None:
    rng = np.random.default_rng(20_000)
    for k in range(20_000):
        data = b"".join(SEEDS[i] for i in rng.integers(0, len(SEEDS), 1 + k % 3))
        swallow(mutated(rng, data))


@pytest.mark.slow
def test_ten_thousand_mutated_layouts_are_read_or_refused() -> None:
    rng = np.random.default_rng(10_000)
    good = [layout.SerializeToString() for layout in (FLOAT, wide(3), nested(3))]
    good += [pack(({"a": np.zeros((2, 3)), "b": 1}, 2.0, np.zeros((0, 7), np.int8)))[0]]
    for k in range(10_000):
        layout = mutated(rng, good[k % len(good)])
        try:
            made = reader(layout)
            if made.size < 1 << 16:
                made.read(rng.bytes(made.size))
        except RemoteProtocolError:
            continue


@given(data=st.binary(max_size=200))
@example(data=b"")
def test_any_bytes_at_all_are_parsed_or_refused(data: bytes) -> None:
    swallow(data)


@given(header=st.binary(max_size=60), payload=st.binary(max_size=20), kind=st.integers(0, 10))
@settings(max_examples=500)
def test_any_header_and_payload_are_parsed_or_refused(
    header: bytes, payload: bytes, kind: int
) -> None:
    length = 3 + len(header) + len(payload)
    swallow(struct.pack("<IBH", length, kind, len(header)) + header + payload)
