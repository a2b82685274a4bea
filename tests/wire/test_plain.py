"""Plain data as JSON: large ones in pieces, with the text that the standard library makes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from p2pdo.wire import plain

NUMBERS = [0.1 * k for k in range(20_000)]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        NUMBERS,
        tuple(NUMBERS),
        list(range(-5, 50_000)),
        [[k, str(k)] for k in range(20_000)],
        {"weights": NUMBERS, "few": [NUMBERS, {"deep": NUMBERS}], "": "ž" * 100_000},
        {1: NUMBERS, "mixed": True},
        [{}, [], NUMBERS, "x" * 100_000],
    ],
)
def test_large_data_are_the_text_that_json_makes_and_come_back(value: Any) -> None:
    text = plain.encode_data(value)
    assert text == json.dumps(value)
    assert plain.parse_plain(text) == json.loads(text)


def test_no_piece_of_large_data_is_large_itself() -> None:
    pieces = list(plain._encode({"one": NUMBERS * 10, "two": [NUMBERS * 10]}))
    assert max(len(piece) for piece in pieces) < 2 * plain.LARGE


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([*NUMBERS, float("nan")], "not JSON compliant"),
        ({"all": [*NUMBERS, object()]}, "object is no plain data"),
    ],
)
def test_what_cannot_travel_is_refused_however_large(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plain.encode_data(value)


def test_data_that_hold_themselves_are_refused() -> None:
    value: list[Any] = []
    value += [value, NUMBERS]
    with pytest.raises(ValueError, match="nested too deeply"):
        plain.encode_data(value)


@pytest.mark.parametrize(
    ("value", "large"),
    [
        (None, False),
        ({"rate": 0.1, "names": ["a", "b"]}, False),
        ("x" * 100_000, True),
        ([0.5] * 100_000, True),
        ([[[0]]] * 5_000, True),
        ({"weights": np.zeros(10)}, False),
        ({"deep": [{"weights": np.zeros(10_000)}]}, True),
    ],
)
def test_what_is_large_is_known_without_encoding_it(value: Any, large: bool) -> None:
    assert plain.is_large(value) is large
