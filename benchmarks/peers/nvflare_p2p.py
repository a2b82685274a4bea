"""NVFlare's p2p executors in its simulator: six client processes, relayed by its server.

    python -m venv /path/to/venv && /path/to/venv/bin/pip install nvflare torch numpy
    make bench BENCH_ARGS='--python nvflare_p2p=/path/to/venv/bin/python'

It pins versions of what p2pdo uses too, so it has an environment of its own. The exchange is
`SyncAlgorithmExecutor`'s as it comes; its time-out is raised, because ten seconds end a run of
large values. CPU time is the clients'; the server's, which relays every value, is not in it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import arguments, not_installed, show

EXECUTOR = """
import json, os
import numpy as np
from common import average, start, window
from nvflare.apis.dxo import from_shareable
from nvflare.app_opt.p2p.executors.sync_executor import SyncAlgorithmExecutor


class Averaging(SyncAlgorithmExecutor):
    def __init__(self):
        super().__init__(sync_timeout=600)

    def run_algorithm(self, fl_ctx, shareable, abort_signal):
        asked = from_shareable(shareable).data
        rank = int(fl_ctx.get_identity_name().rsplit("-", 1)[1]) - 1
        x = start(rank, asked["floats"])
        iteration = 0

        def step():
            nonlocal iteration
            self._exchange_values(fl_ctx, value=x.copy(), iteration=iteration)
            left, right = (self.neighbors_values[iteration][n.id] for n in self.neighbors)
            average(x, left, right)
            del self.neighbors_values[iteration]
            iteration += 1

        measured = window(step, asked["iterations"])
        with open(os.path.join(asked["folder"], f"{rank}.json"), "w") as file:
            json.dump(measured, file)
"""


def job(folder: Path, nodes: int, floats: int, iterations: int) -> Path:
    """A job of one app for all; returns its folder."""
    sites = [f"site-{i + 1}" for i in range(nodes)]
    network = [
        {
            "id": site,
            "neighbors": [{"id": sites[j % nodes], "weight": 1 / 3} for j in (i - 1, i + 1)],
        }
        for i, site in enumerate(sites)
    ]
    extra = {"floats": floats, "iterations": iterations, "folder": str(folder)}
    server: dict[str, Any] = {
        "format_version": 2,
        "workflows": [
            {
                "id": "p2p",
                "path": "nvflare.app_opt.p2p.controllers.dist_opt_controller.DistOptController",
                "args": {
                    "config": {
                        "path": "nvflare.app_opt.p2p.types.Config",
                        "args": {"network": {"nodes": network}, "extra": extra},
                    }
                },
            }
        ],
    }
    client: dict[str, Any] = {
        "format_version": 2,
        "executors": [{"tasks": ["*"], "executor": {"path": "averaging.Averaging", "args": {}}}],
    }
    made = folder / "job"
    for part in ("config", "custom"):
        (made / "app" / part).mkdir(parents=True)
    (made / "meta.json").write_text(
        json.dumps({"name": "ring", "deploy_map": {"app": ["@ALL"]}, "min_clients": nodes})
    )
    (made / "app" / "config" / "config_fed_server.json").write_text(json.dumps(server))
    (made / "app" / "config" / "config_fed_client.json").write_text(json.dumps(client))
    (made / "app" / "custom" / "averaging.py").write_text(EXECUTOR)
    return made


def main() -> None:
    if importlib.util.find_spec("nvflare") is None:
        not_installed("NVFlare is not installed")
    options = arguments()
    with tempfile.TemporaryDirectory() as made:
        folder, many = Path(made), str(options.nodes)
        where = job(folder, options.nodes, options.floats, options.iterations)
        command = [sys.executable, "-m", "nvflare.cli", "simulator", str(where)]
        command += ["-w", str(folder / "work"), "-n", many, "-t", many]
        here = str(Path(__file__).parent)
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": here},
        )
        found = sorted(folder.glob("[0-9]*.json"))
        if len(found) < options.nodes:
            sys.exit(f"{len(found)} of {many} clients came to the end\n{done.stdout[-3000:]}")
        show([json.loads(one.read_text()) for one in found])


if __name__ == "__main__":
    main()
