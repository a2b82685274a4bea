"""What holds for every verb: help, envelopes, exit codes, bugs, signals."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from p2pdo.cli import main, signals
from p2pdo.cli.program import Program, Verb

Call = Callable[..., Any]


def test_help_lists_every_verb(call: Call) -> None:
    answer = call("--help")
    assert answer.code == 0
    for verb in main.list_commands(None):
        assert f"\n  {verb} " in answer.stdout


def test_no_arguments_are_a_request_for_help(call: Call) -> None:
    assert call().stdout == call("--help").stdout


def every_verb() -> list[tuple[str, ...]]:
    """The verbs, and those of a group of them."""
    found: list[tuple[str, ...]] = []
    for name in main.list_commands(None):
        command = main.get_command(None, name)
        inner = command.commands if isinstance(command, click.Group) else {}
        found += [(name, verb) for verb in inner] or [(name,)]
    return found


@pytest.mark.parametrize("verb", every_verb(), ids=" ".join)
def test_every_verb_has_help_and_speaks_json(call: Call, verb: tuple[str, ...]) -> None:
    answer = call(*verb, "--help")
    assert answer.code == 0
    assert "--json" in answer.stdout
    command: Any = main
    for name in verb:
        command = command.get_command(None, name)
    assert isinstance(command, Verb)


def test_the_version_is_told(call: Call) -> None:
    assert call("--version").stdout.startswith("p2pdo ")


def test_an_unknown_verb_is_answered_with_the_nearest(call: Call) -> None:
    answer = call("rum")
    assert answer.code == 2
    assert answer.stderr.startswith(
        "error[usage]: there is no verb 'rum'\n  try: did you mean 'run'"
    )


@pytest.mark.parametrize(
    "arguments",
    [["--json"], ["rum", "--json"], ["run", "--json"], ["topo", "ring", "--x", "--json"]],
)
def test_a_usage_error_is_an_envelope_too(call: Call, arguments: list[str]) -> None:
    answer = call(*arguments)
    assert answer.code == 2
    assert answer.error["code"] == "usage"
    assert answer.error["hint"]


def test_a_bug_is_one_line_and_its_traceback_is_in_a_file(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("nobody\nforesaw this")

    monkeypatch.setattr("p2pdo.api.topologies.inspect", broken)
    error = call("topo", "ring", "--json").error
    assert error["code"] == "bug"
    assert error["message"].endswith("ZeroDivisionError: nobody foresaw this")
    kept = Path(error["hint"].rpartition(" ")[2])
    assert "ZeroDivisionError" in kept.read_text()
    kept.unlink()
    answer = call("topo", "ring")
    assert answer.code == 1
    assert len(answer.stderr.splitlines()) == 2
    Path(answer.stderr.split()[-1]).unlink()


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_outside_a_loop_ends_with_its_code(
    call: Call, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int, word: str
) -> None:
    monkeypatch.setattr("p2pdo.api.topologies.inspect", lambda *_: os.kill(os.getpid(), number))
    before = signal.getsignal(number)
    answer = call("topo", "ring", "--json")
    assert answer.code == code
    assert answer.error["code"] == word
    assert signal.getsignal(number) is before


def test_a_signal_in_a_loop_lets_the_verb_clean_up() -> None:
    cleaned = []

    async def work() -> None:
        loop_closed = signals.asyncio.Event()
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await loop_closed.wait()
        finally:
            cleaned.append("yes")

    with pytest.raises(signals.Interruption) as caught:
        signals.run(work())
    assert caught.value.number == signal.SIGTERM
    assert cleaned == ["yes"]


def test_a_second_signal_waits_for_nobody() -> None:
    async def work() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)

    with pytest.raises(signals.Interruption) as caught:
        signals.run(work())
    assert caught.value.number in (signal.SIGINT, signal.SIGTERM)


def test_what_user_code_prints_does_not_spoil_the_envelope(call: Call, tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text("print('hello')\nxs = 3\n")
    answer = call("run", "chatty.py:xs", "--on", "dense", "--json")
    assert answer.error["code"] == "config"
    assert "hello" in answer.stderr


@pytest.mark.slow
def test_a_reader_who_leaves_early_sees_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "p2pdo", "topo", "ring"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_completion_is_clicks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_P2PDO_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "p2pdo top")
    monkeypatch.setenv("COMP_CWORD", "1")
    result = CliRunner().invoke(main, [])
    assert "topo" in result.stdout


def test_a_program_knows_only_its_verbs() -> None:
    assert Program("empty", {}).get_command(None, "run") is None
    assert json.dumps(main.list_commands(None)).startswith('["run"')
