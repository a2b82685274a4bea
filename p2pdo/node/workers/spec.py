"""What a site says of an executor in worker processes: plain data, checked before it is used."""

from __future__ import annotations

import fcntl
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pdo.errors import ConfigError
from p2pdo.node.context import WorkloadContext
from p2pdo.node.workers.cpu_time import is_readable
from p2pdo.types import Plain
from p2pdo.wire.plain import encode_data


@dataclass(frozen=True)
class Part:
    """Something of a site's own code: "package.module:Class", and what it is made with."""

    path: str
    args: Mapping[str, Plain] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerSpec:
    """An executor that runs in worker processes; plain data, as a site's configuration has it.

    Attributes:
        name: the executor's, for errors and logs.
        path, args: "package.module:Class", and what each process makes it with.
        tasks: the names of the tasks that it handles.
        components: by name, what each process makes for the context.
        site: the table [site], for the context.
        processes: how many; the world size.
        threads: of OpenMP and BLAS in each process.
        memory: the address space of each process in bytes; None for no limit. CUDA and torch
            reserve far more of it than they use.
        nice: how far each process steps back where cores are scarce: 0 does not, 19 most.
        cpu: how much of one core all processes may use together, on average: 0.5 is half of one, 2
            are two; None for no limit.
        logs: the folder for what they print; a file WORKLOAD/NAME.rank-R.log each.
    """

    name: str
    path: str
    args: Mapping[str, Plain] = field(default_factory=dict)
    tasks: Sequence[str] = ()
    components: Mapping[str, Part] = field(default_factory=dict)
    site: Mapping[str, Plain] = field(default_factory=dict)
    processes: int = 1
    threads: int = 1
    memory: int | None = None
    nice: int = 0
    cpu: float | None = None
    logs: Path | None = None

    def hello(self, rank: int, context: WorkloadContext) -> dict[str, Any]:
        """What a process is told first."""
        return {
            "rank": rank,
            "world_size": self.processes,
            "node": context.node,
            "workload_id": context.workload_id,
            "name": self.name,
            "path": self.path,
            "args": dict(self.args),
            "tasks": list(self.tasks),
            "components": {
                name: {"path": part.path, "args": dict(part.args)}
                for name, part in self.components.items()
            },
            "site": dict(self.site),
            "memory": self.memory,
            "nice": self.nice,
            "log_level": context.log.getEffectiveLevel(),
            "python_path": os.environ.get("PYTHONPATH"),
        }


def check_spec(spec: WorkerSpec) -> None:
    where = f"executor '{spec.name}'"
    if not spec.tasks:
        raise ConfigError(f"{where} has no tasks", hint="list the tasks that it handles")
    for name in ("processes", "threads"):
        if getattr(spec, name) < 1:
            raise ConfigError(f"{where}: {name} is {getattr(spec, name)}", hint="1 or more")
    if spec.memory is not None and spec.memory < 1:
        raise ConfigError(f"{where}: memory is {spec.memory}", hint="bytes, or no limit")
    if spec.cpu is not None:
        _check_cpu(spec.cpu, where)
    try:
        parts = [Part(spec.path, spec.args), *spec.components.values()]
        encode_data([dict(spec.site), [dict(part.args) for part in parts]])
    except ValueError as error:
        raise ConfigError(
            f"{where}: its arguments cannot go to worker processes: {error}",
            hint="numbers, text, lists and tables can; write a date as text",
        ) from None


def _check_cpu(share: float, where: str) -> None:
    if not (share > 0 and math.isfinite(share)):
        raise ConfigError(f"{where}: cpu is {share}", hint="cores, as 0.5, or no limit")
    if not (is_readable() and hasattr(fcntl, "F_SETSIG")):
        raise ConfigError(
            f"{where}: cpu = {share:g} cannot be held on this system",
            hint="it takes Linux with /proc; leave the limit out, or run the node there",
        )
