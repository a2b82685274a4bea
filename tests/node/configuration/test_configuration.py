"""p2pdo.toml: what it makes of a node, and how its mistakes are told."""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from p2pdo.errors import ConfigError
from p2pdo.node.client import ClientActor
from p2pdo.node.configuration.building import build
from p2pdo.node.configuration.lines import lines_of
from p2pdo.node.configuration.nvflare import import_nvflare
from p2pdo.node.configuration.offering import offers_of
from p2pdo.node.configuration.reading import read_configuration
from p2pdo.node.configuration.settings import said_by, settings_of
from p2pdo.node.configuration.showing import built_in, checked, settings_with_origins
from p2pdo.node.workplace import SITE, Workplace
from p2pdo.protocol.handed import Result, Task
from p2pdo.reporting.toml_text import dumps
from p2pdo.types import TaskId, WorkloadId

HERE = Path(__file__).parent

GOOD = f"""
[node]
name = "ward-1"
state = "here"
python_path = ["{HERE}"]

[policy]
redact = true

[allow]
problems = ["cost"]

[site]
clinic = "north"

[components.store]
path = "ward:Store"

[executors.trainer]
path = "ward:Trainer"
args = {{ column = "age" }}

[[task_data_filters]]
path = "ward:Double"
tasks = ["train"]

[[handlers]]
events = ["AFTER_TASK"]
path = "ward:listen"

[problems]
cost = "ward:cost"

[workloads.cost.parameters]
a = 7.0
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "p2pdo.toml"
    path.write_text(textwrap.dedent(text))
    return path


def mistakes_of(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        checked(path)
    return caught.value.message


async def perform(workplace: Workplace, *tasks: tuple[str, Any]) -> list[Any]:
    """What a fresh workload's tasks come to."""
    import asyncio

    results: asyncio.Queue[Result] = asyncio.Queue()
    client = ClientActor(
        "n1",
        WorkloadId("w"),
        SITE,
        workplace,
        took=lambda _: None,
        finished=results.put_nowait,
        inbox=8,
    )
    async with client.running() as ref, asyncio.timeout(20):
        for number, (name, payload) in enumerate(tasks):
            await ref.tell(
                Task(TaskId(f"w-{number}"), WorkloadId("w"), SITE, name, number, 1, payload)
            )
        return [json.loads((await results.get()).payload) for _ in tasks]


@pytest.mark.asyncio
async def test_a_file_makes_a_workplace_and_each_workload_its_own_components(
    tmp_path: Path,
) -> None:
    source = read_configuration(write(tmp_path, GOOD))
    workplace = build(source, Workplace({}))
    assert workplace.redacts
    for _ in range(2):
        answers = await perform(workplace, ("train", 4), ("validate", None))
        assert answers == [{"column": "age", "clinic": "north"}, [8, "AFTER_TASK"]]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_an_executor_with_processes_runs_in_them_and_filters_in_the_node(
    tmp_path: Path,
) -> None:
    there = GOOD.replace('path = "ward:Trainer"', 'path = "ward:Trainer"\nprocesses = 2')
    workplace = build(read_configuration(write(tmp_path, there)), Workplace({}), tmp_path / "logs")
    answers = await perform(workplace, ("train", 4), ("validate", None))
    assert answers == [
        {"column": "age", "clinic": "north"},
        [8],
    ]  # the node's listener is not there


def test_a_flag_wins_over_the_file_and_paths_are_relative_to_it(tmp_path: Path) -> None:
    source = read_configuration(write(tmp_path, GOOD))
    settings = settings_of(said_by(source, {"coordinator": "127.0.0.1:1", "name": "other"}))
    assert (settings.name, settings.state) == ("other", tmp_path / "here")


def test_a_sites_own_problem_and_parameters_win(tmp_path: Path) -> None:
    offers = offers_of(read_configuration(write(tmp_path, GOOD)))
    how = {"partition": "iid", "seed": 3, "dtype": "float64"}
    made = offers.problem("cost", 1, 2, parameters={"a": 1.0}, **how)  # type: ignore[arg-type]
    assert made == ("cost", 1, 2, "iid", 3, "float64", 7.0)
    with pytest.raises(ConfigError, match="does not allow 'quadratic'"):
        offers.problem("quadratic", 0, 2, parameters={}, **how)  # type: ignore[arg-type]


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


def test_a_script_is_found_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside.py").write_text("class Store: ...\nproblem = print\n")
    path = write(
        tmp_path,
        """
        [components.x]
        path = "beside.py:Store"

        [problems]
        own = "beside.py:problem"
        """,
    )
    source = read_configuration(path)
    assert list(build(source, built_in()).components) == ["x"]
    assert offers_of(source).problems == {"own": print}


def test_several_functions_may_be_told_of_one_event(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f"""
        [node]
        python_path = ["{HERE}"]

        [[handlers]]
        events = ["START_RUN", "END_RUN"]
        path = "ward:listen"

        [[handlers]]
        events = ["START_RUN"]
        path = "ward:cost"
        """,
    )
    listeners = build(read_configuration(path), built_in()).listeners
    names = {event: [one.__name__ for one in several] for event, several in listeners.items()}
    assert names == {"START_RUN": ["listen", "cost"], "END_RUN": ["listen"]}


@pytest.mark.parametrize("task", ["config", "run_algorithm"])
def test_the_tasks_of_p2pdo_have_their_executor_already(tmp_path: Path, task: str) -> None:
    (tmp_path / "thief.py").write_text(
        "from p2pdo.node.executors import Executor, task\n"
        "class Thief(Executor):\n"
        f"    @task('{task}')\n"
        "    def steal(self, order): ...\n"
    )
    path = write(tmp_path, '[node]\npython_path = ["."]\n[executors.t]\npath = "thief:Thief"\n')
    assert f"task '{task}' is served by 'optimization' and by 't'" in mistakes_of(path)
    import sys

    sys.modules.pop("thief")
    sys.path.remove(str(tmp_path))


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


def test_every_setting_is_shown_with_its_origin(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    rows = {setting: (value, origin) for setting, value, origin in settings_with_origins(path)}
    assert rows["node.name"] == ("ward-1", f"{path}:3")
    assert rows["node.listen"] == ("127.0.0.1:0", "default")
    assert rows["executors.trainer.args.column"] == ("age", f"{path}:21")
    assert rows["executors.trainer.processes"] == (0, "default")
    assert rows["workloads.cost.parameters.a"] == (7.0, f"{path}:35")


def test_lines_of_dotted_and_quoted_keys() -> None:
    text = 'a.b = 1\n[x."y.z"]\nk = 2\n[[l]]\nm = 1\n[[l]]\nm = 2\n'
    lines = lines_of(text)
    assert lines["a", "b"] == 1
    assert lines["x", "y.z", "k"] == 3
    assert (lines["l", 0, "m"], lines["l", 1, "m"]) == (5, 7)


NVFLARE = {
    "format_version": 2,
    "executors": [
        {
            "tasks": ["train", "submit_*"],
            "executor": {"id": "t", "path": "ward.Trainer", "args": {"column": "age"}},
        }
    ],
    "task_data_filters": [],
    "task_result_filters": [
        {"tasks": ["train"], "filters": [{"path": "ward.Double"}, {"name": "PercentilePrivacy"}]}
    ],
    "components": [{"id": "store", "path": "ward.Store", "args": {}}],
    "handlers": [{"path": "nvflare.app_common.widgets.X", "args": {}}],
    "servers": [],
}


def test_nvflares_configuration_becomes_one_that_works(tmp_path: Path) -> None:
    old = tmp_path / "config_fed_client.json"
    old.write_text(json.dumps({**NVFLARE, "handlers": []}))
    made = import_nvflare(old)
    assert made.tables["executors"]["t"] == {
        "path": "ward:Trainer",
        "args": {"column": "age"},
        "tasks": ["train"],
    }
    tables = {"node": {"python_path": [str(HERE)]}, **made.tables}
    assert checked(write(tmp_path, dumps(tables)))["train"] == "t"


def test_a_file_of_nvflare_that_defines_variables_and_processes(tmp_path: Path) -> None:
    """Alone a variable keeps its type, in a text it is text; the system's own are told."""
    old = tmp_path / "config_fed_client.json"
    inner = {
        "executor_id": "t",
        "num_of_processes": "{ranks}",
        "task_script_path": "x",
        "components": [
            {"id": "t", "path": "ward.Trainer", "args": {"column": "{who}-{SITE_NAME}"}},
            {"id": "store", "path": "ward.Store"},
        ],
    }
    executor = {"tasks": ["train"], "executor": {"name": "PTMultiProcessExecutor", "args": inner}}
    file = {"format_version": 2, "ranks": 2, "who": "age", "spare": 1, "executors": [executor]}
    old.write_text(json.dumps(file))
    made = import_nvflare(old)
    assert made.tables == {
        "executors": {
            "t": {
                "path": "ward:Trainer",
                "args": {"column": "age-{SITE_NAME}"},
                "processes": 2,
                "tasks": ["train"],
            }
        },
        "components": {"store": {"path": "ward:Store"}},
    }
    where = "executors[0].executor.args.components[0].args.column"
    assert made.remarks == [
        f"{where}: the variable '{{SITE_NAME}}' is not defined in this file",
        "'spare' has no counterpart",
        "executors[0]: 'task_script_path' of its processes has no counterpart",
    ]
    tables = {"node": {"python_path": [str(HERE)]}, **made.tables}
    assert checked(write(tmp_path, dumps(tables)))["train"] == "t"


def test_what_of_nvflares_has_no_counterpart_is_told(tmp_path: Path) -> None:
    old = tmp_path / "config_fed_client.json"
    old.write_text(json.dumps(NVFLARE))
    remarks = "\n".join(import_nvflare(old).remarks)
    assert "'servers' has no counterpart" in remarks
    assert "the task pattern 'submit_*' has no counterpart" in remarks
    assert "'PercentilePrivacy' is no path package.module.Class" in remarks
    assert "nvflare.app_common.widgets.X is NVFlare's own" in remarks


@pytest.mark.parametrize(
    ("named", "tasks", "remarks"),
    [
        (["*"], {}, 0),
        ([], {}, 0),
        (["train"], {"tasks": ["train"]}, 0),
        (["submit_*"], {}, 2),
    ],
)
def test_a_filter_for_all_tasks_stays_one(
    tmp_path: Path, named: list[str], tasks: dict[str, list[str]], remarks: int
) -> None:
    """A pattern that says less is told; until it is written out the filter is for all tasks."""
    old = tmp_path / "config_fed_client.json"
    filters = [{"tasks": named, "filters": [{"path": "ward.Double"}]}]
    old.write_text(json.dumps({"format_version": 2, "task_data_filters": filters}))
    made = import_nvflare(old)
    assert made.tables["task_data_filters"] == [{"path": "ward:Double", **tasks}]
    assert len(made.remarks) == remarks


@pytest.mark.parametrize(
    "text", ["", "[]", '{"format_version": 1}', '{"format_version": 2, "executors": 3}']
)
def test_what_is_none_of_nvflares_files_is_refused(tmp_path: Path, text: str) -> None:
    old = tmp_path / "config.json"
    old.write_text(text)
    with pytest.raises(ConfigError):
        import_nvflare(old)
