"""Masks: the sum of hidden numbers is exact, and fewer than all of them say nothing."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from p2pdo.errors import LocalProtocolError, RemoteProtocolError
from p2pdo.graphs.graph import Graph
from p2pdo.graphs.topologies import by_name
from p2pdo.protocol.frames import Hello
from p2pdo.protocol.masking import (
    SHARE,
    WIDTH,
    MaskedSums,
    Masks,
    add,
    agree,
    from_units,
    split,
    to_units,
)
from p2pdo.protocol.rounds import InEdge
from p2pdo.protocol.session import OutEdge, PeerSession

SMALLEST = 5e-324
finite = st.floats(allow_nan=False, allow_infinity=False)
edge = st.sampled_from([0.0, -0.0, SMALLEST, -SMALLEST, sys.float_info.max, -sys.float_info.max])
number = finite | edge
topologies = st.sampled_from(["ring", "path", "star", "complete", "directed-ring"])


def secrets_of(graph: Graph, seed: int) -> list[dict[int, bytes]]:
    """What each node has agreed on with each of its neighbours."""
    draw = np.random.default_rng(seed).bytes
    agreed: list[dict[int, bytes]] = [{} for _ in range(graph.n)]
    for i in range(graph.n):
        for j in sorted({*graph.in_neighbors(i), *graph.out_neighbors(i)}):
            if i < j:
                agreed[i][j] = agreed[j][i] = agree(draw(SHARE), draw(SHARE))
    return agreed


def network(topology: str, n: int) -> Graph:
    return by_name(topology, n, np.random.default_rng(0))


def masks_of(topology: str, n: int, seed: int) -> list[Masks]:
    agreed = secrets_of(network(topology, n), seed)
    return [Masks(i, secrets) for i, secrets in enumerate(agreed)]


def rounded(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


@given(number)
def test_a_number_is_exactly_its_units(value: float) -> None:
    assert from_units(to_units(value)) == value
    signed = to_units(value) - (2 ** (8 * WIDTH) if value < 0 else 0)
    assert Fraction(signed, 2**1074) == Fraction(value)


@settings(deadline=None)
@given(
    rows=st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(number, min_size=width, max_size=width), min_size=3, max_size=9
        )
    ),
    topology=topologies,
    seed=st.integers(0, 2**32),
    iteration=st.integers(0, 2**53),
)
def test_the_sum_of_all_hidden_numbers_is_the_sum_of_the_numbers_exactly(
    rows: list[list[float]], topology: str, seed: int, iteration: int
) -> None:
    masks = masks_of(topology, len(rows), seed)
    hidden = [split(mask.hide(iteration, row)) for mask, row in zip(masks, rows, strict=True)]
    told = [from_units(units) for units in add(hidden)]
    assert told == [rounded(sum(map(Fraction, column))) for column in zip(*rows, strict=True)]


def test_what_is_hidden_looks_like_noise_whatever_the_number_and_however_many_are_added() -> None:
    """Each bit is as often one as not, of one report and of the sum of all but one."""
    masks = masks_of("ring", 5, seed=1)
    looks = 600
    alone, but_one = np.zeros(8 * WIDTH), np.zeros(8 * WIDTH)
    for iteration in range(looks):
        hidden = [mask.hide(iteration, [1.5]) for mask in masks]
        alone += _bits(hidden[0])
        rest = add([split(report) for report in hidden[1:]])[0]
        but_one += _bits(rest.to_bytes(WIDTH, "little"))
    for ones in (alone, but_one):
        from_half = np.abs(ones - looks / 2) / (math.sqrt(looks) / 2)
        assert from_half.max() < 5, "standard deviations, of 2176 bits"
        assert from_half.max() > 2, "and not more even than chance either"


def _bits(data: bytes) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    return np.unpackbits(np.frombuffer(data, np.uint8))


def test_reports_of_the_same_number_differ_between_iterations_and_runs() -> None:
    reports = {
        mask.hide(iteration, [2.0, 2.0])
        for seed in (1, 2)
        for mask in masks_of("ring", 3, seed)
        for iteration in (0, 1)
    }
    parts = {report[at : at + WIDTH] for report in reports for at in (0, WIDTH)}
    assert len(parts) == 24


def test_all_but_one_report_are_the_same_whatever_the_last_ones_number_is() -> None:
    """So they do not determine it; nor does its own without the neighbours' secrets."""
    seen = set()
    for last in (0.0, 1e300):
        masks = masks_of("ring", 4, seed=3)
        others = [mask.hide(7, [float(i)]) for i, mask in enumerate(masks[:3])]
        masks[3].hide(7, [last])
        seen.add(tuple(others))
    assert len(seen) == 1


def test_numbers_with_one_sum_are_told_alike_by_some_secrets() -> None:
    """Moving 5 from node 0 to node 1 is undone by another mask on their edge, equally likely."""
    masks = masks_of("path", 3, seed=4)
    told = [split(mask.hide(1, [x]))[0] for mask, x in zip(masks, (6.0, 1.0, 2.0), strict=True)]
    masks = masks_of("path", 3, seed=4)
    other = [split(mask.hide(1, [x]))[0] for mask, x in zip(masks, (1.0, 6.0, 2.0), strict=True)]
    moved = (told[0] - other[0]) % 2 ** (8 * WIDTH)
    assert from_units(moved) == 5.0
    assert (other[0] + moved) % 2 ** (8 * WIDTH) == told[0]
    assert (other[1] - moved) % 2 ** (8 * WIDTH) == told[1]
    assert other[2] == told[2]


def test_who_has_all_of_a_nodes_secrets_sees_its_number_and_no_other() -> None:
    """The coordinator with node 2 of the path 0-1-2-3-4: nothing but 0 + 1, and 3 + 4."""
    agreed = secrets_of(network("path", 5), seed=5)
    numbers = [3.0, 4.0, 5.0, 6.0, 7.0]
    hidden = [split(Masks(i, agreed[i]).hide(1, [x]))[0] for i, x in enumerate(numbers)]
    known = agreed[2]
    bare = [_unmasked(i, units, known, by=2) for i, units in enumerate(hidden)]
    assert [from_units(units) for units in bare[:2]] != numbers[:2]
    assert from_units(add([[bare[0]], [bare[1]]])[0]) == 7.0
    assert from_units(add([[bare[3]], [bare[4]]])[0]) == 13.0
    alone = secrets_of(network("path", 3), seed=5)
    end = split(Masks(0, alone[0]).hide(1, [3.0]))[0]
    assert from_units(_unmasked(0, end, alone[1], by=1)) == 3.0, "the path's end has one neighbour"


def _unmasked(node: int, units: int, secrets: Mapping[int, bytes], *, by: int) -> int:
    """With what `by` has agreed on with the node, if anything."""
    if node not in secrets:
        return units
    theirs = split(Masks(by, {node: secrets[node]}).hide(1, [0.0]))[0]
    return (units + theirs) % 2 ** (8 * WIDTH)


def test_a_mask_is_used_once() -> None:
    mask = Masks(0, {1: bytes(32)})
    mask.hide(10, [1.0])
    for iteration in (10, 5):
        with pytest.raises(LocalProtocolError, match="after iteration 10"):
            mask.hide(iteration, [2.0])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_cannot_be_hidden(value: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        Masks(0, {}).hide(1, [value])


# ---- the secret ----


def session(share: bytes) -> PeerSession:
    made = PeerSession("b", b"t", InEdge("b"), OutEdge(), share=share)
    made.link_up()
    return made


def hello(share: bytes) -> Hello:
    return Hello(b"t", 0, 4, answer=True, share=share)


def test_both_ends_agree_and_a_new_link_changes_nothing() -> None:
    mine, theirs = bytes(range(32)), bytes(32)
    a, b = session(mine), session(theirs)
    assert not a.is_settled
    for _ in range(2):
        a.receive(hello(theirs))
        b.receive(hello(mine))
        assert a.is_settled
        assert a.secret == b.secret != b""
        a.link_down()
        (again,) = a.link_up()
        assert isinstance(again, Hello)
        assert again.share == mine
    assert agree(mine, theirs) != agree(mine, bytes(31) + b"1")


@pytest.mark.parametrize("share", [b"", bytes(31), bytes(33)])
def test_a_peer_without_a_share_is_refused(share: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="b brings no share of a secret") as caught:
        session(bytes(32)).receive(hello(share))
    assert "one version of p2pdo" in str(caught.value.hint)


def test_a_peer_with_another_share_than_before_is_refused() -> None:
    made = session(bytes(32))
    made.receive(hello(bytes(range(32))))
    with pytest.raises(RemoteProtocolError, match="another share"):
        made.receive(hello(bytes(32)))


def test_without_a_monitor_nothing_is_agreed() -> None:
    made = session(b"")
    made.receive(hello(b""))
    assert made.is_settled
    assert made.secret == b""


# ---- the sums ----

Told = tuple[int, int, bytes]


def told_by(nodes: int, iterations: Sequence[int]) -> list[list[Told]]:
    """Of each node, in order; node i's number at iteration k is k + i."""
    return [
        [(i, k, mask.hide(k, [float(k + i)])) for k in iterations]
        for i, mask in enumerate(masks_of("ring", nodes, seed=6))
    ]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), lost=st.floats(0, 0.3), again=st.floats(0, 0.3))
def test_reports_in_any_order_lost_or_twice_are_added_once_or_not_at_all(
    seed: int, lost: float, again: float
) -> None:
    rng = np.random.default_rng(seed)
    nodes, iterations = 4, range(10, 310, 10)
    queues = told_by(nodes, iterations)
    sums = MaskedSums(nodes, every=10)
    whole, found = set(iterations), {}
    while any(queues):
        waiting = [queue for queue in queues if queue]
        queue = waiting[rng.integers(len(waiting))]
        node, iteration, hidden = queue.pop(0)
        if rng.random() < lost:
            whole.discard(iteration)
            continue
        for _ in range(2 if rng.random() < again else 1):
            total = sums.add(node, iteration, hidden)
            if total is not None:
                assert iteration not in found
                found[iteration] = total
    assert found == {k: [4.0 * k + 6] for k in whole}
    assert sums.looked_at == len(whole)
    assert sums.kept <= len(iterations) - len(whole)
    if whole:
        after_the_first = (max(whole) - 10) // 10 + 1
        assert sums.looked_at + sums.passed_over <= after_the_first


def test_what_nobody_can_complete_is_told_and_forgotten() -> None:
    first, second = told_by(2, [1, 2, 3, 4])
    sums = MaskedSums(2, every=1)
    for report in (first[0], second[0], first[1], first[2], second[2]):
        sums.add(*report)
    assert (sums.looked_at, sums.passed_over, sums.kept) == (2, 1, 0)
    sums.add(*second[1])  # too late
    assert (sums.looked_at, sums.passed_over, sums.kept) == (2, 1, 0)


@pytest.mark.parametrize("order", [lambda told: told, reversed], ids=["forward", "backward"])
def test_memory_is_bounded_and_nodes_that_come_together_again_are_looked_at(
    order: Callable[[list[list[Told]]], list[list[Told]]],
) -> None:
    ahead, behind = order(told_by(2, range(1, 101)))
    sums = MaskedSums(2, every=1, most=8)
    kept = []
    for report in ahead[:90]:
        sums.add(*report)
        kept.append(sums.kept)
    for report in behind[:90]:
        sums.add(*report)
        kept.append(sums.kept)
    assert max(kept) == 8
    assert sums.looked_at == 8, "those for which there was room"
    for one, other in pairwise(sorted([*ahead[90:], *behind[90:]], key=lambda told: told[1])):
        sums.add(*one)
        sums.add(*other)
    assert sums.looked_at == 18
    assert sums.passed_over == 82
