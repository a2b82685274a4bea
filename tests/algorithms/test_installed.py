"""Algorithms that other packages install under an entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from p2pdo.algorithms import Consensus
from p2pdo.algorithms.catalogue import find, is_known
from p2pdo.api.catalogues import describe_algorithms
from p2pdo.errors import ConfigError

VALUES = {
    "theirs": "p2pdo.algorithms.consensus:Consensus",
    "dgd": "p2pdo.algorithms.consensus:Consensus",
    "gone": "no_such_package:Method",
    "other": "p2pdo.errors:ConfigError",
}


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    def those_of(*, group: str) -> list[EntryPoint]:
        return [EntryPoint(name, value, group) for name, value in VALUES.items()]

    monkeypatch.setattr("importlib.metadata.entry_points", those_of)


@pytest.mark.usefixtures("entries")
def test_an_installed_algorithm_is_found_by_its_name_after_the_librarys_own() -> None:
    assert find("theirs") is Consensus
    assert is_known("theirs")
    assert find("dgd") is not Consensus, "the library's names are its own"
    with pytest.raises(ConfigError, match="unknown algorithm 'their'") as caught:
        find("their")
    assert "did you mean 'theirs'" in str(caught.value.hint)


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gone", r"'gone' \(no_such_package:Method\) cannot be imported: ModuleNotFoundError"),
        ("other", r"'other' \(p2pdo.errors:ConfigError\) is no algorithm"),
    ],
)
def test_what_is_broken_is_told_with_its_place(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        find(name)
    assert caught.value.hint


@pytest.mark.usefixtures("entries")
def test_a_broken_one_does_not_keep_the_others_from_being_listed() -> None:
    listed: dict[str, Any] = {entry["name"]: entry for entry in describe_algorithms()}
    assert listed["theirs"]["place"] == VALUES["theirs"]
    assert listed["dgd"]["about"].startswith("Distributed gradient descent")
    assert "cannot be imported" in listed["gone"]["error"]
