"""Conversations with a machine, as text: anyone can read them and the machine replays them.

A file begins with `machine NAME [ARGUMENTS]`; NAME.py beside it has `interpreter(*arguments)`,
which returns a function from one line of the conversation to the lines that the machine answers.
Then come steps, each a block without empty lines:

    # comments, as many as one likes
    what happens
    ----
    what the machine answers

`REWRITE=1 pytest tests/scenarios` records the answers anew: read the diff before committing it.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
Interpreter = Callable[[str], list[str]]


def interpreter_for(header: str) -> Interpreter:
    word, name, *arguments = header.split()
    assert word == "machine", f"a scenario begins with 'machine NAME', not '{header}'"
    spec = importlib.util.spec_from_file_location(f"scenario_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made: Interpreter = module.interpreter(*arguments)
    return made


def replay(text: str) -> Iterator[str]:
    """The blocks of the scenario with the answers that the machine gives now."""
    header, *steps = text.strip().split("\n\n")
    interpret = interpreter_for(header.splitlines()[-1])
    yield header
    for step in steps:
        said = step.split("\n----")[0]
        answers = [
            answer
            for line in said.splitlines()
            if not line.startswith("#")
            for answer in interpret(line)
        ]
        yield "\n".join([said, "----", *(answers or ["(nothing)"])])


@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
def test_the_machine_answers_as_recorded(path: Path) -> None:
    recorded = path.read_text()
    replayed = "\n\n".join(replay(recorded)) + "\n"
    if os.environ.get("REWRITE"):
        path.write_text(replayed)
    else:
        assert replayed == recorded
