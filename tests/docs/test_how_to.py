# ruff: noqa: S102 - the pages are ours
"""The pages on tasks say what is so: their programs run, their configurations work."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.serving import serving
from p2pdo.driving.results import TaskStatus
from p2pdo.node.configuration.showing import checked
from p2pdo.protocol.plan import make_start
from p2pdo.testing.laws import LAWS

PAGES = Path(__file__).parents[2] / "docs" / "how-to"

WARD = """
import p2pdo


class Trainer(p2pdo.Executor):
    def __init__(self, rows: int = 100) -> None: ...

    @p2pdo.task("train")
    def train(self, task, context): ...


@p2pdo.participant
def train(me, *, rows=50): ...


class Store: ...


class CheckShape:
    def apply(self, data, task, context): ...


class Clip:
    def __init__(self, bound: float) -> None: ...

    def apply(self, data, task, context): ...
"""

NVFLARE = """
{
  "format_version": 2,
  "executors": [
    {"tasks": ["train"], "executor": {"path": "ward.Trainer", "args": {"rows": 400}}}
  ],
  "components": [{"id": "store", "path": "ward.Store"}]
}
"""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)


def as_main(code: str) -> str:
    return f"async def main():\n{textwrap.indent(code, '    ')}\n    return locals()"


def run_inside(code: str, names: dict[str, Any]) -> dict[str, Any]:
    """Runs code with `await` in it; what it defines besides."""
    exec(as_main(code), names)
    found: dict[str, Any] = asyncio.run(names["main"]())
    return found


@pytest.mark.slow
def test_the_page_on_executors_runs(capsys: pytest.CaptureFixture[str]) -> None:
    definition, driving, *_ = blocks("write-an-executor.md", "python")
    names: dict[str, Any] = {}
    exec(definition, names)
    found = run_inside(driving, names)
    assert found["result"].status is TaskStatus.OK
    assert len(found["results"]) >= 2
    assert [one.node for one in found["chain"]] == ["node-2", "node-0"]
    assert capsys.readouterr().out.count(" ok ") == 3


@pytest.mark.slow
def test_the_page_on_algorithms_runs_and_its_method_obeys(tmp_path: Path) -> None:
    method, test = blocks("write-an-algorithm.md", "python")
    (tmp_path / "my_method.py").write_text(method)
    (tmp_path / "test_it.py").write_text(f"from my_method import Tracking\n{test}")
    commands, _ = blocks("write-an-algorithm.md", "sh")
    for command in ["pytest -q -p no:cacheprovider test_it.py", *commands.splitlines()]:
        verb, *words = command.split()
        done = subprocess.run(
            [sys.executable, "-m", verb, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_on_algorithms_names_every_law() -> None:
    page = (PAGES / "write-an-algorithm.md").read_text()
    _, _, laws = page.partition("| law | catches |")
    named = re.findall(r"^\| `(\w+)` \|", laws, re.MULTILINE)
    assert named == [law.__name__ for law in LAWS]


def test_two_hosts_have_the_mean_after_two_iterations_as_the_page_on_graphs_says() -> None:
    (code,) = blocks("../reference/graphs.md", "python")
    names: dict[str, Any] = {"p2pdo": p2pdo}
    exec(code, names)
    states = np.stack(names["result"].states)
    starts = np.stack([make_start("normal", states.shape[1], i, 0, "float64") for i in range(8)])
    assert np.abs(states - starts.mean(axis=0)).max() < 1e-14


@pytest.mark.slow
def test_the_pages_auditor_asks_everybody() -> None:
    *_, definition = blocks("write-an-executor.md", "python")
    names: dict[str, Any] = {"p2pdo": p2pdo}
    exec(definition, names)
    found = run_inside(
        "async with p2pdo.local(nodes=2, executors={'auditor': Auditor}) as net:\n"
        "    async with net.driver() as tasks:\n"
        "        result = await tasks.send_and_wait('audit', to='node-0')",
        names,
    )
    assert found["result"].unwrap() == {"node-0": 7, "node-1": 7}


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_pages_second_driver_has_the_results_that_the_first_had_not(
    tmp_path: Path,
) -> None:
    definition, _, first, second, _ = blocks("write-an-executor.md", "python")
    stored: list[p2pdo.TaskResult] = []
    names: dict[str, Any] = {"np": np, "store": stored.append, "stored": lambda: len(stored)}
    exec(definition, names)
    first = first.replace("store(result)\n", "store(result)\n        break\n    tasks.detach()\n")
    nodes = ["hospital-0", "hospital-1", "hospital-2"]
    executors = {"trainer": names["Trainer"]}
    async with (
        serving(tmp_path / "coordinator", "127.0.0.1:0") as address,
        running_nodes(nodes, address, tmp_path, executors=executors),
        p2pdo.connect(address) as net,
    ):
        names["net"] = net
        exec(as_main(first), names)
        workload = (await names["main"]())["tasks"].workload_id
        assert len(stored) == 1
        exec(as_main(second.replace("k3v9x2aa", workload)), names)
        assert (await names["main"]())["more"].status is TaskStatus.OK
    assert [result.place for result in stored] == [1, 2, 3]
    assert {result.node for result in stored} == {*nodes}


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("executor", ["inprocess", "processes"])
def test_the_whole_participant_of_its_page_runs_from_the_command_line(
    executor: str, tmp_path: Path
) -> None:
    (program,) = [b for b in blocks("write-a-participant.md", "python") if "# train.py" in b]
    (tmp_path / "train.py").write_text(program)
    command, _ = blocks("write-a-participant.md", "sh")
    words = [*command.split()[1:], "--on", executor, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "p2pdo", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)["data"]
    assert (data["nodes"], data["iterations"], data["executor"]) == (4, 50, executor)
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == data["results"]
    for returned in data["results"].values():
        np.testing.assert_allclose(returned["x"], [1.0, -2.0, 0.5], atol=0.2)
    first, *_, last = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [sum(json.loads(line)["logged"]["loss"].values()) for line in (first, last)]
    assert losses[1] < losses[0] / 10


MODEL = """
import torch

torch.manual_seed(0)
model = torch.nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr)
"""
STEPS = """
def local_steps_of_sgd(model, optimizer, batches, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((model(batches) - 1) ** 2).mean()
        loss.backward()
        optimizer.step()
    STEPS.append(loss.item())
"""


@pytest.mark.slow
def test_the_outline_of_a_participant_is_one_with_its_dots_filled_in(tmp_path: Path) -> None:
    """It trains, goes on from its checkpoints as the page says, and tells what it logs."""
    pytest.importorskip("torch")
    outline, _, local, *_ = blocks("write-a-participant.md", "python")
    made = textwrap.indent(MODEL, "    ") + "    batches = torch.ones(4, 1)"
    outline = outline.replace("    model, optimizer, batches = ...  # your code, untouched", made)
    outline = outline.replace("loss=...", "loss=STEPS[-1]").replace(": ...}", ": 1.0}")
    assert "..." not in outline
    names: dict[str, Any] = {"STEPS": []}
    exec(STEPS + outline, names)
    local = local.replace(", processes=True", f", state={str(tmp_path)!r}")
    first = run_inside(local, names)
    assert {**first["metric"].logged["loss"]}.keys() == {f"node-{i}" for i in range(4)}
    assert first["metric"].logged["loss"]["node-0"] < 1e-3
    done = len(names["STEPS"])
    run_inside(local.replace("rounds=100", "rounds=101"), names)
    assert len(names["STEPS"]) == done + 4, "one round more of each node"


@pytest.mark.slow
@pytest.mark.e2e
def test_a_participant_runs_at_its_sites_as_its_page_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its two configurations in one file, four nodes of it, the command and the program."""
    (program,) = [b for b in blocks("write-a-participant.md", "python") if "# train.py" in b]
    site, own = blocks("write-a-participant.md", "toml")
    (tmp_path / "ward.py").write_text(program)
    (tmp_path / "p2pdo.toml").write_text(site + own)
    _, command = blocks("write-a-participant.md", "sh")
    *_, remote, _ = blocks("write-a-participant.md", "python")
    assert checked(tmp_path / "p2pdo.toml")

    async def use() -> bytes:
        async with (
            serving(tmp_path / "coordinator", "127.0.0.1:0") as address,
            running_nodes(
                *(list("abcd"), address, tmp_path),
                executors={},
                config=tmp_path / "p2pdo.toml",
            ),
        ):
            words = command.replace("127.0.0.1:7443", address).split()[1:]
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "p2pdo", *words, "--json"),
                stdout=asyncio.subprocess.PIPE,
            )
            told, _ = await child.communicate()
            names: dict[str, Any] = {"p2pdo": p2pdo}
            exec(as_main(remote.replace("127.0.0.1:7443", address)), names)
            await names["main"]()
            return told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.delitem(sys.modules, "ward", raising=False)
        data = json.loads(asyncio.run(use()))["data"]
        sys.modules.pop("ward", None)
    results = ast.literal_eval(capsys.readouterr().out)
    assert data["results"] == results
    assert data["iterations"] == 100
    for returned in results.values():  # of 200 rows a site, not of 50
        np.testing.assert_allclose(returned["x"], [1.0, -2.0, 0.5], atol=0.05)


def test_a_history_is_read_as_the_page_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    *_, reading = blocks("write-a-participant.md", "python")
    out = tmp_path / "run"
    p2pdo.run("quadratic", nodes=2, rounds=100, on="inprocess", record="x", out=out)
    (folder, _) = sorted(path.parent for path in out.glob("nodes/*/workloads/*/history.npz"))
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"np": np}
    exec(reading, names)
    with np.load("history.npz") as history:
        assert len(history["x"]) == len(history["x.iteration"]) == 3


@pytest.mark.slow
@pytest.mark.e2e
def test_the_handler_of_the_page_on_worker_processes_shares_its_rows(tmp_path: Path) -> None:
    (handler,) = blocks("worker-processes.md", "python")
    handler = handler.replace("    ...\n", "    weights = [len(part), context.world_size]\n")
    (text,) = blocks("worker-processes.md", "toml")
    head = "import p2pdo\nfrom p2pdo import task\n\n\nclass Trainer(p2pdo.Executor):\n"
    made = "    def __init__(self, rows):\n        self.rows = list(range(rows))\n\n"
    (tmp_path / "trainers.py").write_text(head + made + textwrap.indent(handler, "    "))
    config = tmp_path / "p2pdo.toml"
    config.write_text(
        f'[node]\npython_path = ["."]\n{text}'.replace("ward:", "trainers:").replace("400", "401")
    )

    async def use() -> p2pdo.TaskResult:
        async with p2pdo.local(1, config=config) as net, net.driver() as tasks:
            return await tasks.send_and_wait("train", to="node-0")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        assert asyncio.run(use()).unwrap() == {"weights": [201, 2]}


@pytest.mark.slow
def test_flowers_strategy_is_that_function() -> None:
    class Trainer(p2pdo.Executor):
        @p2pdo.task
        def train(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
            rows = 1 + int(context.node[-1])
            return {"model": task.payload + rows, "rows": rows}

    (definition,) = blocks("from-flower.md", "python")
    names: dict[str, Any] = {"p2pdo": p2pdo, "Trainer": Trainer, "np": np}
    exec(definition, names)
    found = run_inside(
        "async with p2pdo.local(nodes=2, executors={'trainer': Trainer}) as net:\n"
        "    async with net.driver() as tasks:\n"
        "        model = await federated_averaging(tasks, 3, np.zeros(2))",
        names,
    )
    np.testing.assert_allclose(found["model"], 3 * (1 + 4) / 3)


@pytest.mark.parametrize(
    ("page", "task", "executor"),
    [
        ("write-an-executor.md", "train", "trainer"),
        ("worker-processes.md", "train", "trainer"),
        ("write-a-participant.md", "run_participant", "participant"),
    ],
)
def test_the_configurations_of_the_pages_can_work(
    page: str, task: str, executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "ward", raising=False)
    (tmp_path / "ward.py").write_text(WARD)
    text = "".join(blocks(page, "toml"))
    (tmp_path / "p2pdo.toml").write_text(text)
    assert checked(tmp_path / "p2pdo.toml")[task] == executor
    monkeypatch.delitem(sys.modules, "ward")


@pytest.mark.e2e
@pytest.mark.slow
def test_the_program_of_the_page_on_timelines_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("see-where-the-time-goes.md", "python")
    exec(code, {})
    told, share = capsys.readouterr().out.splitlines()
    assert told.startswith("timeline t.json: compute ")
    assert 0 <= float(share) <= 1
    assert (tmp_path / "t.json").exists()


@pytest.mark.slow
def test_the_commands_of_the_page_for_nvflare_run(tmp_path: Path) -> None:
    (tmp_path / "ward.py").write_text(WARD)
    (tmp_path / "config_fed_client.json").write_text(NVFLARE)
    (commands,) = blocks("from-nvflare.md", "sh")
    code = commands.replace("p2pdo config", f"{sys.executable} -m p2pdo config")
    done = subprocess.run(
        ["sh", "-ec", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "p2pdo.toml can work" in done.stdout


@pytest.mark.e2e
@pytest.mark.slow
def test_the_program_of_the_page_on_comparing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("compare-algorithms.md", "python")
    exec(code, {})
    assert "to gap and consensus error <= 1e-06" in capsys.readouterr().out
    assert (tmp_path / "gap.pdf").exists()
