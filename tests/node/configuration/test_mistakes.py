"""What is wrong in p2pdo.toml is told at once, with its lines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from site_files import HERE, mistakes_of, write

from p2pdo.errors import ConfigError
from p2pdo.node.configuration.lines import lines_of
from p2pdo.node.configuration.reading import read_configuration
from p2pdo.node.configuration.showing import checked


def test_all_mistakes_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        [node]
        nmae = "a"
        pull_interval = -1

        [executors.trainer]
        path = "ward.Trainer"

        [components.store]
        path = "nowhere_at_all:Store"
        arg = {}

        [executors.limited]
        path = "ward:Trainer"
        processes = 1
        cpu = 0
        cpus = 2

        [allow]
        executors = ["trainer"]
        """,
    )
    told = mistakes_of(path)
    assert "8 mistakes" in told  # with what is found by importing
    assert f"{path}:10: cannot import nowhere_at_all" in told
    lines = [int(line.split(":")[1]) for line in told.splitlines()[1:]]
    assert lines == sorted(lines)
    assert f"{path}:3: node.nmae: there is no such key; did you mean 'name'?" in told
    assert f"{path}:4: node.pull_interval: input should be greater than 0" in told
    assert f"{path}:7: executors.trainer.path: 'ward.Trainer' is not of the form" in told
    assert f"{path}:11: components.store.arg: there is no such key; did you mean 'args'?" in told
    assert f"{path}:16: executors.limited.cpu: input should be greater than or equal to" in told
    assert f"{path}:17: executors.limited.cpus: there is no such key; did you mean 'cpu'?" in told


@pytest.mark.parametrize(
    "wrong",
    [
        "[node]\ncoordinator = 'localhost'",
        "[executors.a]\nprocesses = -1",
        "[[handlers]]\nevents = 3\n[[handlers]]\nevents = 4",
        "node = 3",
    ],
)
def test_what_is_not_of_its_form_is_told_once_and_what_to_do_next(
    tmp_path: Path, wrong: str
) -> None:
    path = write(tmp_path, wrong)
    for read in (checked, read_configuration):
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert f"{path}:2: " in caught.value.message or "node" in caught.value.message
        assert str(caught.value.hint).endswith(f"then: p2pdo config check {path}")


def test_a_filter_for_a_task_that_nobody_handles_is_a_mistake(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f"""
        [node]
        python_path = ["{HERE}"]

        [executors.a]
        path = "ward:Rival"

        [[task_result_filters]]
        path = "ward:Double"
        tasks = ["trian"]
        """,
    )
    told = mistakes_of(path)
    assert f"{path}:10: ward:Double is for task 'trian', which nobody here handles" in told
    assert "did you mean 'train'?" in told


def test_what_only_an_import_tells_is_told_with_its_line_too(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f"""
        [node]
        python_path = ["{HERE}"]

        [executors.a]
        path = "ward:Trianer"

        [executors.b]
        path = "ward:Trainer"
        args = {{ colum = "age" }}

        [executors.c]
        path = "ward:Rival"

        [executors.d]
        path = "ward:Store"

        [executors.optimization]
        path = "ward:Rival"

        [executors.e]
        path = "ward:Trainer"
        args = {{ column = "age" }}
        tasks = ["tarin"]

        [executors.f]
        path = "ward:Trainer"
        args = {{ column = "age" }}
        tasks = ["validate"]
        cpu = 0.5

        [components.x]
        path = "no_such_module:X"

        [components.y]
        path = "ward:NOTHING"

        [[task_result_filters]]
        path = "ward:Store"

        [[handlers]]
        events = ["START_RUN"]
        path = "ward:NOTHING"
        """,
    )
    told = mistakes_of(path)
    for words in (
        f"{path}:6: {'ward'} has no 'Trianer' (did you mean 'Trainer'?",
        f"{path}:10: ward:Trainer: missing a required argument: 'column'",
        f"{path}:12: task 'train' is served by 'b' and by 'c'",
        f"{path}:16: ward:Store is no Executor",
        f"{path}:18: the executor 'optimization' has a name that p2pdo uses",
        f"{path}:24: ward:Trainer has no task 'tarin'; it has train, validate",
        f"{path}:30: cpu is for worker processes; add processes = 1 or more",
        f"{path}:33: cannot import no_such_module",
        f"{path}:36: ward:NOTHING cannot be called",
        f"{path}:39: ward:Store has no method apply",
        f"{path}:43: ward:NOTHING cannot be called",
    ):
        assert words in told, words


def test_one_check_tells_what_is_wrong_in_any_table(tmp_path: Path) -> None:
    """Problems and participants, executors, lists of names and parameters, in their order."""
    path = write(
        tmp_path,
        f"""
        [node]
        python_path = ["{HERE}"]

        [executors.trainer]
        path = "ward:Trainer"
        args = {{ colum = "age" }}

        [problems]
        cost = "ward:cost"
        none = "ward:NOTHING"

        [participants]
        train = "ward:cost"
        fit = "ward:fit"

        [allow]
        algorithms = ["gradient-trackin"]
        participants = ["fitt"]
        executors = ["trainer", "optimisation"]

        [workloads.fit.parameters]
        rat = 1

        [workloads.cost.parameters]
        b = 2

        [workloads.quadratic.parameters]
        dimensions = 3

        [workloads.averagin.parameters]
        """,
    )
    told = mistakes_of(path)
    assert "the configuration is wrong: 10 mistakes" in told
    found = [line.strip() for line in told.splitlines()[1:]]
    assert [line.split(": ")[0] for line in found] == [
        f"{path}:{n}" for n in (7, 11, 14, 18, 19, 20, 22, 25, 28, 31)
    ]
    for line, words in zip(
        found,
        (
            "missing a required argument: 'column'",
            "ward:NOTHING cannot be called",
            "ward:cost is no participant; write @p2pdo.participant above the function",
            "this site has no algorithm 'gradient-trackin' (did you mean 'gradient-tracking'?)",
            "this site has no participant 'fitt' (did you mean 'fit'?)",
            "this site has no executor 'optimisation' (did you mean 'optimization'?)",
            "workloads.fit.parameters: got an unexpected keyword argument 'rat'",
            "workloads.cost.parameters: got an unexpected keyword argument 'b'",
            "quadratic has no parameter 'dimensions' (did you mean 'dimension'?",
            "no participant or problem 'averagin' (did you mean 'averaging'?)",
        ),
        strict=True,
    ):
        assert words in line


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("x = 1 +", "site_code: SyntaxError: invalid syntax"),
        ("raise ValueError('no data')", "site_code: ValueError: no data"),
        ("import sys; sys.exit(3)", "site_code: SystemExit: 3"),
    ],
)
def test_a_module_that_cannot_be_imported_is_a_mistake_of_the_file(
    tmp_path: Path, code: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "site_code.py").write_text(code)
    path = write(
        tmp_path,
        """
        [node]
        python_path = ["."]

        [components.x]
        path = "site_code:X"
        """,
    )
    assert f"{path}:6: cannot import {words}" in mistakes_of(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [("[node", ":1: this is no TOML"), ('[node]\nname = "a\n', ":2: this is no TOML")],
)
def test_a_file_that_is_no_toml(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_configuration(write(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nothing.toml: No such file"):
        read_configuration(tmp_path / "nothing.toml")


def test_lines_of_dotted_and_quoted_keys() -> None:
    text = 'a.b = 1\n[x."y.z"]\nk = 2\n[[l]]\nm = 1\n[[l]]\nm = 2\n'
    lines = lines_of(text)
    assert lines["a", "b"] == 1
    assert lines["x", "y.z", "k"] == 3
    assert (lines["l", 0, "m"], lines["l", 1, "m"]) == (5, 7)
