"""What pytest has where p2pdo is installed: `--p2pdo-laws PACKAGE:ALGORITHM`.

Each law of `p2pdo.testing.laws` becomes one test for each algorithm that is named. Without files
on the command line these are all that runs; with them they come after.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("p2pdo").addoption(
        "--p2pdo-laws",
        action="append",
        default=[],
        metavar="PACKAGE:ALGORITHM",
        help="Hold an algorithm to p2pdo's laws: a class, an object, a Case or a list of them; "
        "repeat it.",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:  # noqa: ARG001
    """Where nothing but laws was asked for, no file is looked at."""
    asked_for_files = config.args_source is pytest.Config.ArgsSource.ARGS
    return True if config.getoption("--p2pdo-laws") and not asked_for_files else None


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    for where in config.getoption("--p2pdo-laws"):
        items += _laws_of(where, session)


def _laws_of(where: str, session: pytest.Session) -> list[pytest.Item]:
    from p2pdo.errors import ConfigError
    from p2pdo.testing.laws import cases_at, laws_of, name_of

    try:
        cases = cases_at(where)
    except ConfigError as error:
        raise pytest.UsageError(f"{error.message}; try: {error.hint}") from error
    return [
        LawItem.from_parent(
            session, name=f"{where}[{case.name}-{name_of(law)}]", hold=lambda c=case, f=law: f(c)
        )
        for case in cases
        for law in laws_of(case)
    ]


class LawItem(pytest.Item):
    """One law of one case."""

    def __init__(self, *, hold: Callable[[], None], **settings: Any) -> None:
        super().__init__(**settings)
        self._hold = hold

    def runtest(self) -> None:
        self._hold()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        from p2pdo.testing.laws import BrokenLaw

        if isinstance(excinfo.value, BrokenLaw):  # its words say all; no line of ours is at fault
            return f"{self.name}: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return Path("p2pdo laws"), None, self.name
