"""`p2pdo config`: show, check, import-nvflare."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Call = Callable[..., Any]

GOOD = '[node]\nname = "a"\n\n[executors.echo]\npath = "site_code:Echo"\n'
CODE = """
from p2pdo.node.executors import Executor, task

class Echo(Executor):
    @task("echo")
    def echo(self, order): return order.payload

def cost(node_index, nodes, partition, seed, dtype, *, rate=0.1): ...
"""


def test_show_tells_where_each_value_comes_from(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "p2pdo.toml"
    path.write_text(GOOD)
    shown = call("config", "show", "--origin", str(path)).stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("node.name ")]
    assert line.split() == ["node.name", '"a"', f"{path}:2"]
    rows = json.loads(call("config", "show", str(path), "--json").stdout)["data"]
    assert {"setting": "node.pull", "value": "stream", "from": "default"} in rows


def test_check_lists_the_tasks_or_tells_the_mistakes(call: Call, tmp_path: Path) -> None:
    (tmp_path / "site_code.py").write_text(CODE)
    path = tmp_path / "p2pdo.toml"
    path.write_text(GOOD.replace("[node]\n", '[node]\npython_path = ["."]\n'))
    answer = call("config", "check", str(path), "--json")
    assert json.loads(answer.stdout)["data"]["tasks"]["echo"] == "echo"
    parameters = "[workloads.ecgo.parameters]\nrate = 1\n"
    cost = f'[problems]\necho = "{tmp_path}/site_code.py:cost"\n'
    path.write_text(cost + parameters)
    answer = call("config", "check", str(path))
    assert answer.code == 3
    assert f"{path}:3: workloads.ecgo: this site has no participant or problem" in answer.stderr
    assert "did you mean 'echo'?" in answer.stderr
    path.write_text(cost + parameters.replace("ecgo", "echo"))
    assert "site_code.py:cost" in call("config", "check", str(path)).stdout
    path.write_text(GOOD.replace("Echo", "Ehco"))
    answer = call("config", "check", str(path))
    assert answer.code == 3
    assert f"{path}:5: " in answer.stderr
    path.write_text(GOOD.replace("name", "nmae") + "proceses = 2\n")
    told = call("config", "check", str(path)).stderr.splitlines()
    assert told[0] == "error[config]: the configuration is wrong: 2 mistakes:"
    assert [line.split(": ")[0] for line in told[1:3]] == [f"  {path}:2", f"  {path}:6"]


def test_an_imported_file_is_written_once(call: Call, tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.toml"
    old.write_text(json.dumps({"format_version": 2, "executors": [], "servers": []}))
    answer = call("config", "import-nvflare", str(old), "--out", str(new))
    assert answer.code == 0
    assert "'servers' has no counterpart" in answer.stderr
    assert "python_path" in answer.stdout
    assert f"then: p2pdo config check {new}" in answer.stdout
    assert new.read_text().strip() == ""
    assert call("config", "import-nvflare", str(old), "--out", str(new)).code == 4
