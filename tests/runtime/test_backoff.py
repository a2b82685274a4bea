from __future__ import annotations

import random

from p2pdo.runtime.backoff import Backoff


def test_waits_double_up_to_the_cap_and_are_jittered() -> None:
    backoff = Backoff(rng=random.Random(1))  # noqa: S311
    for limit in (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0):
        assert limit / 2 <= backoff.delay() <= limit


def test_a_success_makes_the_next_wait_short_again() -> None:
    backoff = Backoff()
    for _ in range(10):
        backoff.delay()
    backoff.reset()
    assert backoff.delay() <= 0.1


def test_a_hundred_nodes_do_not_call_at_once() -> None:
    first = sorted(Backoff().delay() for _ in range(100))
    assert first[-1] - first[0] > 0.02
