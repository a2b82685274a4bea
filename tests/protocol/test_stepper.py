"""Around the author's code: shapes, dtypes, finiteness, and every error with node and iteration.

Mistakes in exchanges are tested on all executors in tests/algorithms/test_exchanges.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

from p2pdo.algorithms import Algorithm, Consensus, Dgd
from p2pdo.algorithms.base import Requires
from p2pdo.dtypes import bfloat16
from p2pdo.effects import Here, Row, Step, exchange, exchange_each, mix
from p2pdo.errors import ConfigError, LocalProtocolError, RemoteProtocolError, WorkloadFailed
from p2pdo.problems.quadratic import Quadratic
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.stepper import Stepper
from p2pdo.protocol.values import Layout, describe, is_finite, same_layout, size_of
from p2pdo.types import Array, Value

PLACE = Place(1, "node-1", (0, 2), (2,), Row(((0, 0.25), (1, 0.5), (2, 0.25))))
COST = Quadratic(np.eye(2), np.ones(2))
X = np.zeros(2)


class State(NamedTuple):
    x: Any


class Writes(Algorithm[State]):
    """An algorithm whose step is a test's function."""

    requires = Requires()

    def __init__(self, step: Callable[..., Any], start: Callable[..., Any] | None = None) -> None:
        self._step = step
        self._start = start

    def init(self, x: Array, problem: Any, here: Here) -> State:
        return State(x if self._start is None else self._start(x))

    def step(self, s: State, problem: Any, here: Here) -> Step[State]:
        return self._step(s)


def stepper(algorithm: Algorithm[Any], problem: Any = COST, x: Array = X) -> Stepper[Any]:
    return Stepper(algorithm, problem, PLACE, x.copy(), seed=9)


def inbox(value: Value) -> dict[int, Value]:
    return {0: value, 2: value}


def at_iteration_one(step: Callable[..., Any]) -> Stepper[Any]:
    """One ordinary iteration done, `step` in the next."""

    def ordinary(s: State) -> Step[State]:
        (x,) = yield from mix(s.x, 1.0)
        return State(x)

    def steps(s: State) -> Any:
        return step(s) if made.iteration else mix_once(s)

    def mix_once(s: State) -> Step[State]:
        return State((yield from mix(s.x)))

    made = stepper(Writes(steps))
    made.advance(None, 1)
    assert made.advance(inbox((X,)), 1) is None
    return made


# ---- whose fault it is ----


def named() -> Stepper[Any]:
    place = replace(PLACE, names={0: "anna", 2: "otto"})
    return Stepper(Dgd(0.5), COST, place, X.copy(), seed=9)


def test_a_value_of_another_shape_is_told_with_its_sender() -> None:
    run = named()
    run.advance(None, 2)
    with pytest.raises(RemoteProtocolError, match=r"otto sent \(float64 \(3,\)\) whe") as caught:
        run.advance({0: (X,), 2: (np.zeros(3),)}, 2)
    assert (caught.value.node, caught.value.iteration) == ("otto", 0)


@pytest.mark.parametrize("pause_at", [1, 2])
def test_a_value_that_is_not_finite_is_told_with_its_sender(pause_at: int) -> None:
    run = named()
    run.advance(None, pause_at)

    def go_on() -> None:
        run.advance({0: (np.array([1.0, np.nan]),), 2: (X,)}, pause_at)
        run.advance(None, 2)

    with pytest.raises(RemoteProtocolError, match="anna sent node-1 a value that") as caught:
        go_on()
    assert caught.value.node == "anna"


# ---- the ordinary course ----


def test_it_pauses_at_boundaries_only_and_counts_what_it_sent() -> None:
    run = stepper(Dgd(0.5))
    outgoing = run.advance(None, 2)
    assert outgoing == Outgoing(Tag(0, 0, EffectKind.MIX), outgoing.value)
    outgoing = run.advance(inbox((X,)), 2)
    assert outgoing is not None
    assert outgoing.tag == Tag(1, 0, EffectKind.MIX)
    assert run.advance(inbox((X,)), 2) is None
    assert (run.iteration, run.messages_sent, run.bytes_sent) == (2, 2, 32)
    assert run.advance(None, 2) is None
    assert not run.x.flags.writeable


def test_exchange_each_counts_and_sends_to_each_its_own() -> None:
    def step(s: State) -> Step[State]:
        theirs = yield from exchange_each({2: {"a": (1.0, s.x)}})
        return State(s.x + theirs[0] + theirs[2])

    run = stepper(Writes(step))
    outgoing = run.advance(None, 1)
    assert outgoing is not None
    assert outgoing.tag.effect is EffectKind.EXCHANGE_EACH
    assert describe(outgoing.to(2)) == "dict"
    assert run.advance(inbox(3.0), 1) is None
    assert (run.messages_sent, run.bytes_sent) == (1, 24)
    assert run.x.tolist() == [6.0, 6.0]


@pytest.mark.parametrize(
    "form",
    [lambda a: a[:], lambda a: a[::2], lambda a: a.reshape(2, 2).T, lambda a: a.astype(">f8")[:]],
)
def test_a_view_is_sent_as_a_copy_that_nobody_changes_later(form: Callable[[Array], Array]) -> None:
    base = np.arange(4.0)

    def step(s: State) -> Step[State]:
        yield from exchange(form(base))
        return s

    run = stepper(Writes(step))
    outgoing = run.advance(None, 1)
    assert outgoing is not None
    sent: Any = outgoing.to(2)
    expected = form(np.arange(4.0)).tolist()
    base += 100
    assert sent.tolist() == expected
    assert sent.flags.c_contiguous
    assert sent.dtype.isnative
    assert not sent.flags.writeable


def test_random_numbers_are_functions_of_seed_node_and_iteration() -> None:
    here = Here(3, 1, (), (), seed=9)
    again, elsewhere, later = (
        Here(3, 1, (), (), seed=9),
        Here(3, 2, (), (), seed=9),
        Here(4, 1, (), (), seed=9),
    )
    drawn = here.rng.random()
    assert drawn == again.rng.random()
    assert drawn not in (elsewhere.rng.random(), later.rng.random())
    common = here.common_rng.random()
    assert common == elsewhere.common_rng.random() != later.common_rng.random()
    assert here.rng is here.rng, "one generator an iteration"


# ---- mistakes in a step ----


def raises(s: State) -> Step[State]:
    yield from mix(s.x)
    raise ValueError("boom")


def raises_at_once(s: State) -> Step[State]:
    raise ValueError("boom")


def raises_ours(s: State) -> Step[State]:
    yield from mix(s.x)
    raise ConfigError("this cannot be", hint="do")


def stops(s: State) -> Step[State]:
    yield from mix(s.x)
    next(iter(()))


def returns_nothing(s: State) -> Step[State]:
    yield from mix(s.x)


def grows(s: State) -> Step[State]:
    yield from mix(s.x)
    return State(np.zeros(3))


def promotes(s: State) -> Step[State]:
    yield from mix(s.x)
    return State(s.x.astype(np.complex128))


def is_no_generator(s: State) -> Any:
    return State(s.x)


def explodes(s: State) -> Step[State]:
    x = yield from mix(s.x + 1e308)
    x = yield from mix(x * 1e308)
    return State(x)


def exits(s: State) -> Step[State]:
    yield from mix(s.x)
    sys.exit("I am done")


@pytest.mark.parametrize(
    ("step", "error", "says"),
    [
        (raises, WorkloadFailed, "ValueError: boom"),
        (raises_at_once, WorkloadFailed, "ValueError: boom"),
        (raises_ours, ConfigError, "this cannot be"),
        (stops, WorkloadFailed, "RuntimeError: generator raised StopIteration"),
        (exits, WorkloadFailed, "SystemExit: I am done"),
        (returns_nothing, WorkloadFailed, "step of node-1 returned NoneType, which has no x"),
        (grows, WorkloadFailed, r"is float64 \(3,\), expected float64 \(2,\)"),
        (promotes, WorkloadFailed, r"is complex128 \(2,\), expected float64 \(2,\)"),
        (is_no_generator, LocalProtocolError, r"step\(\) of Writes returned \(float64"),
        (explodes, WorkloadFailed, "not finite"),
    ],
)
def test_a_mistake_in_a_step_is_told_with_node_and_iteration(
    step: Any, error: type[Exception], says: str
) -> None:
    run = at_iteration_one(step)

    def two_exchanges() -> None:
        run.advance(None, 2)
        run.advance(inbox((X,)), 2)

    with pytest.raises(error, match=says) as caught:
        two_exchanges()
    assert (caught.value.node, caught.value.iteration) == ("node-1", 1)
    assert caught.value.hint
    assert caught.value.__cause__ is not caught.value


def test_the_hint_names_the_authors_line_and_not_one_of_a_library() -> None:
    def misuses(s: State) -> Step[State]:
        yield from mix(s.x)
        np.linalg.cholesky(np.zeros(3))  # raised deep inside numpy

    line = misuses.__code__.co_firstlineno + 2
    run = stepper(Writes(misuses))
    run.advance(None, 1)
    with pytest.raises(WorkloadFailed, match="LinAlgError") as caught:
        run.advance(inbox((X,)), 1)
    assert str(caught.value.hint).endswith(f"of node-1: {__file__}, line {line}")


def test_an_author_who_exits_in_init_or_gradient_ends_the_run_and_not_the_process() -> None:
    def leave(x: Array) -> Any:
        raise SystemExit(3)

    for algorithm, problem in ((Writes(raises, leave), COST), (Dgd(0.1), Cost(leave))):
        with pytest.raises(WorkloadFailed, match="SystemExit: 3") as caught:
            stepper(algorithm, problem)
        assert (caught.value.node, caught.value.iteration) == ("node-1", 0)
        assert str(caught.value.hint).endswith(f"line {leave.__code__.co_firstlineno + 1}")


def test_a_promotion_from_float32_is_refused() -> None:
    def step(s: State) -> Step[State]:
        x = yield from mix(s.x)
        return State(x + np.zeros(2))

    run = stepper(Writes(step), x=X.astype(np.float32))
    run.advance(None, 1)
    with pytest.raises(WorkloadFailed, match=r"float64 \(2,\), expected float32 \(2,\)"):
        run.advance(inbox((X.astype(np.float32),)), 1)


# ---- what comes from neighbours ----


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (X, np.zeros(3)),
        (X, X.astype(np.float32)),
        (X, 0.0),
        (0.0, X),
        ((X, X), (X,)),
        ((X,), X),
        ({"a": X}, {"b": X}),
        ({"a": X}, {"a": np.zeros(1)}),
        ({"a": X}, X),
    ],
)
def test_what_does_not_have_the_shape_of_the_own_value_cannot_be_mixed(
    own: Value, theirs: Value
) -> None:
    def step(s: State) -> Step[State]:
        yield from mix(own)
        return s

    run = stepper(Writes(step))
    run.advance(None, 1)
    with pytest.raises(RemoteProtocolError, match="node 2 sent") as caught:
        run.advance({0: (own,), 2: (theirs,)}, 1)
    assert (caught.value.node, caught.value.iteration) == ("node 2", 0)


def test_what_is_exchanged_may_differ_in_shape_between_nodes() -> None:
    def step(s: State) -> Step[State]:
        theirs = yield from exchange(s.x)
        assert [v.shape for v in theirs.values()] == [(5,), (1,)]
        return s

    run = stepper(Writes(step))
    run.advance(None, 1)
    assert run.advance({2: np.zeros(1), 0: np.zeros(5)}, 1) is None


# ---- mistakes before the first step ----


def test_a_wrong_start_state_is_told() -> None:
    def fails(x: Array) -> Array:
        raise KeyError("lost")

    def refuses(x: Array) -> Array:
        raise ConfigError("no")

    with pytest.raises(WorkloadFailed, match="KeyError: 'lost'") as caught:
        stepper(Writes(raises, fails))
    assert (caught.value.node, caught.value.iteration) == ("node-1", 0)
    with pytest.raises(ConfigError, match="no") as refused:
        stepper(Writes(raises, refuses))
    assert (refused.value.node, refused.value.iteration) == ("node-1", 0)
    with pytest.raises(WorkloadFailed, match=r"is float64 \(1, 2\), expected float64 \(2,\)"):
        stepper(Writes(raises, lambda x: x[None]))


class Cost:
    dimension = 2

    def __init__(self, gradient: Any) -> None:
        self.gradient = gradient

    def value(self, x: Array) -> float:
        return 0.0


def fails(x: Array) -> Array:
    raise ZeroDivisionError("1/0")


def refuses(x: Array) -> Array:
    raise ConfigError("no data here")


@pytest.mark.parametrize(
    ("gradient", "says"),
    [
        (fails, "ZeroDivisionError"),
        (refuses, "no data here"),
        (lambda x: [0.0, 0.0], "gradient of node-1's problem is list"),
        (lambda x: np.zeros((2, 1)), r"is float64 \(2, 1\), expected float64 \(2,\)"),
    ],
)
def test_a_wrong_gradient_is_told_before_the_first_step(gradient: Any, says: str) -> None:
    with pytest.raises((WorkloadFailed, ConfigError), match=says) as caught:
        stepper(Dgd(0.1), Cost(gradient))
    assert (caught.value.node, caught.value.iteration) == ("node-1", 0)


def test_a_problem_without_the_oracle_is_told() -> None:
    class Bare:
        dimension = 2

    with pytest.raises(WorkloadFailed, match="dgd needs a problem with the methods of Gradient"):
        stepper(Dgd(0.1), Bare())
    assert stepper(Consensus(), Bare()).iteration == 0


# ---- the helpers ----


@pytest.mark.parametrize(
    ("value", "finite"),
    [
        (1.0, True),
        (float("inf"), False),
        (np.array([1e300, 1e300]), True),  # whose squares overflow
        (np.array([1e300, np.nan]), False),
        (np.array([1, 2]), True),
        (np.array([True]), True),
        (np.array([1j, complex(0, np.inf)]), False),
        (np.zeros((0, 3)), True),
        ((1.0, {"a": np.array([np.inf])}), False),
        ({"a": (1, 2)}, True),
        (np.full((9, 9), 1e300), True),  # of more entries than are added up in Python
        (np.full(81, 3e38, np.float32), True),
        (np.full(81, 6e4, np.float16), True),
        (np.full(81, 1e300j), True),
        (np.full(81, 3e38, bfloat16()), True),
        (np.append(np.ones(80), np.nan).astype(bfloat16()), False),
        (np.array([np.inf], bfloat16()), False),
        (np.append(np.ones(80), -np.inf), False),
        (np.append(np.full(80, 1e300), np.nan), False),
    ],
)
def test_finiteness_is_seen_in_every_leaf_and_nothing_is_warned_of(
    value: Value, finite: bool
) -> None:
    with np.errstate(all="raise"):
        assert is_finite(value) is finite


OTHER_LAYOUTS: list[Value] = [
    (np.zeros(3),),
    (np.zeros(2, np.float32),),
    (np.zeros(2), np.zeros(2)),
    (0.0,),
    {"a": np.zeros(2)},
    {"a": np.zeros(2), "b": 1},
    {"a": 1, "b": np.zeros(2)},
    (np.zeros(2), {"a": 1}),
    np.zeros(2),
    1.5,
    (),
]


def test_a_layout_that_was_looked_at_fits_what_is_laid_out_alike_and_nothing_else() -> None:
    values: list[Value] = [(np.zeros(2),), *OTHER_LAYOUTS]
    for i, one in enumerate(values):
        layout = Layout(one)
        assert layout.size == size_of(one)
        for j, other in enumerate(values):
            assert layout.fits(other) is same_layout(one, other) is (i == j), (one, other)


def test_sizes_are_of_arrays_and_eight_bytes_a_scalar() -> None:
    assert size_of((np.zeros((2, 3), np.float32), {"a": 1, "b": True})) == 24 + 16


def test_a_mistake_in_what_is_said_to_be_kept_has_its_place() -> None:
    def look(node: int, iteration: int, state: Any) -> None:
        raise ValueError(f"no part {state.y} at {node} in {iteration}")

    one = stepper(Consensus())
    one.watch = look
    one.advance(None, 5)
    with pytest.raises(WorkloadFailed, match="no attribute 'y'") as caught:
        one.advance(inbox((X,)), 5)
    assert (caught.value.node, caught.value.iteration) == (one.place.name, 1)
