"""A node's name is never a path."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from hypothesis import given, strategies as st

from p2pdo.errors import ConfigError
from p2pdo.reporting.file_names import from_file_name, to_file_name


@given(st.text(min_size=1).filter(lambda name: name not in {".", ".."}))
def test_any_name_becomes_one_component_and_comes_back(name: str) -> None:
    file_name = to_file_name(name)
    assert PurePath(file_name).parts == (file_name,)
    assert all(c.isascii() and (c.isalnum() or c in "._-%") for c in file_name)
    assert from_file_name(file_name) == name


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("site-1", "site-1"),
        ("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"),
        ("a\\b", "a%5Cb"),
        ("a%2Fb", "a%252Fb"),
        ("~root", "%7Eroot"),
        ("nul\0", "nul%00"),
    ],
)
def test_whatever_could_lead_elsewhere_is_encoded(name: str, file_name: str) -> None:
    assert to_file_name(name) == file_name


@pytest.mark.parametrize("name", ["", ".", "..", "\ud800"])
def test_names_that_no_file_can_have_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"name|Unicode"):
        to_file_name(name)
