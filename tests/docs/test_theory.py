"""The page on what is known of a run shows what the commands say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from p2pdo.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "theory.md"
SHOWN = re.compile(r"^    \$ p2pdo (.+)\n((?:    .*\n|\n(?=    ))*)", re.MULTILINE)


def shown() -> dict[str, str]:
    """Each command of the page with what it is said to print."""
    found = SHOWN.findall(PAGE.read_text())
    return {command: re.sub(r"^    ", "", text, flags=re.MULTILINE) for command, text in found}


@pytest.mark.slow
@pytest.mark.parametrize("command", shown())
def test_a_command_prints_what_the_page_shows(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = CliRunner().invoke(main, shlex.split(command))
    expected = shown()[command]
    assert expected.strip() in answer.output
    assert (answer.exit_code == 0) == ("error[" not in expected)
