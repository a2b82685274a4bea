"""p2pdo.toml: what it makes of a node."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from site_files import GOOD, HERE, mistakes_of, perform, write

from p2pdo.errors import ConfigError
from p2pdo.node.configuration.building import build
from p2pdo.node.configuration.offering import offers_of
from p2pdo.node.configuration.reading import read_configuration
from p2pdo.node.configuration.settings import said_by, settings_of
from p2pdo.node.configuration.showing import built_in, settings_with_origins
from p2pdo.node.workplace import Workplace


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


def test_every_setting_is_shown_with_its_origin(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    rows = {setting: (value, origin) for setting, value, origin in settings_with_origins(path)}
    assert rows["node.name"] == ("ward-1", f"{path}:3")
    assert rows["node.listen"] == ("127.0.0.1:0", "default")
    assert rows["executors.trainer.args.column"] == ("age", f"{path}:21")
    assert rows["executors.trainer.processes"] == (0, "default")
    assert rows["workloads.cost.parameters.a"] == (7.0, f"{path}:35")
