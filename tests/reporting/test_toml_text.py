"""What is written as TOML, the standard library reads."""

from __future__ import annotations

import math
import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from p2pdo.errors import ConfigError
from p2pdo.reporting.toml_text import dumps

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_any_plain_data_comes_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(dumps(table)) == table


def test_a_person_can_read_it() -> None:
    table = {"seed": 0, "algorithm": {"name": "dgd", "step size": 1e-08}, "out": "runs/a"}
    assert dumps(table) == (
        'seed = 0\nout = "runs/a"\n\n[algorithm]\nname = "dgd"\n"step size" = 1e-08\n'
    )


def test_nan_and_inf_have_a_spelling() -> None:
    back = tomllib.loads(dumps({"a": math.nan, "b": math.inf, "c": -math.inf}))
    assert math.isnan(back["a"])
    assert (back["b"], back["c"]) == (math.inf, -math.inf)


def test_none_is_left_out() -> None:
    assert tomllib.loads(dumps({"a": None, "b": 1, "c": [{"d": None}]})) == {"b": 1, "c": [{}]}


def test_scalars_of_numpy_are_numbers() -> None:
    table = {"a": np.float64(0.1), "b": np.int64(3), "c": np.True_}
    assert tomllib.loads(dumps(table)) == {"a": 0.1, "b": 3, "c": True}


@pytest.mark.parametrize("value", [b"x", {1, 2}, 1j, [None]])
def test_what_toml_cannot_say_is_refused_by_its_key(value: object) -> None:
    with pytest.raises(ConfigError, match=r"run\.x"):
        dumps({"run": {"x": value}})


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ConfigError, match="Unicode"):
        dumps({"x": "\udcff"})
