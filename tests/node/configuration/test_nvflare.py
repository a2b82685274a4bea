"""A client's configuration of NVFlare, as p2pdo.toml."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from site_files import HERE, write

from p2pdo.errors import ConfigError
from p2pdo.node.configuration.nvflare import import_nvflare
from p2pdo.node.configuration.showing import checked
from p2pdo.reporting.toml_text import dumps

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
    made = import_nvflare(old)
    assert list(made.tables["components"]) == ["store"]
    remarks = "\n".join(made.remarks)
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
