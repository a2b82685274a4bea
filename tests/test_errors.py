"""Errors: each has a remedy, wherever it is made, and keeps it across a boundary."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import p2pdo
from p2pdo import errors
from p2pdo.errors import P2pdoError, RemoteProtocolError, WorkloadStopped, from_plain, render

SOURCES = sorted(Path(p2pdo.__file__).parent.rglob("*.py"))


def made_in(tree: ast.Module) -> Iterator[tuple[type[P2pdoError], ast.Call]]:
    """Every call of a class that was imported from `p2pdo.errors`."""
    imported = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "p2pdo.errors"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found = getattr(errors, imported.get(node.func.id, ""), None)
            if isinstance(found, type) and issubclass(found, P2pdoError):
                yield found, node


def says_what_to_try(cls: type[P2pdoError], call: ast.Call) -> bool:
    has_hint = any(keyword.arg in ("hint", None) for keyword in call.keywords)
    return has_hint or cls.remedy is not None or cls is errors.MissingExtra


def test_every_error_that_is_made_says_what_to_try() -> None:
    found = [
        (path, cls, call)
        for path in SOURCES
        for cls, call in made_in(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert len(found) > 200, "this test looks at nothing"
    missing = [
        f"{path}:{call.lineno} {cls.__name__}"
        for path, cls, call in found
        if not says_what_to_try(cls, call) and (path.name, cls) not in PASSED_ON
    ]
    assert not missing


PASSED_ON = {("control.py", errors.Unreachable)}
"""Made without a hint and told with one: `joined` adds what to try."""


def test_a_class_with_one_remedy_says_it_unless_there_is_a_better_one() -> None:
    assert str(RemoteProtocolError("x").hint).startswith("run one version of p2pdo")
    assert RemoteProtocolError("x", hint="call Rome").hint == "call Rome"
    assert P2pdoError("x").hint is None


def test_a_terminal_and_a_traceback_show_the_remedy() -> None:
    error = WorkloadStopped("enough")
    assert render(error).splitlines()[1] == f"  try: {WorkloadStopped.remedy}"
    assert error.__notes__ == [f"try: {WorkloadStopped.remedy}"]


@pytest.mark.parametrize("hint", [None, "call Rome"])
def test_a_remedy_crosses_a_boundary(hint: str | None) -> None:
    error = RemoteProtocolError("x", hint=hint)
    assert from_plain(error.to_plain()).hint == error.hint
