"""`p2pdo.toml`, a node's configuration, as it is written. What it means is made in `building`.

[node]                                   # each may be given as a flag of p2pdo-node instead
name = "hospital-1"
coordinator = "127.0.0.1:7443"
state = "state"
insecure = true
python_path = ["."]                      # where the site's own modules are

[executors.trainer]
path = "ward:Trainer"
args = { column = "age" }

[components.store]
path = "ward:Store"

[[task_result_filters]]
path = "ward:Clip"
args = { bound = 1.0 }
tasks = ["train"]

[allow]
algorithms = ["gradient-tracking"]
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

Place = Annotated[str, StringConstraints(pattern=r"^[^:\s]+:[A-Za-z_][A-Za-z0-9_.]*$")]
"""Where something stands: package.module:Name, or a script's path:Name."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


ADDRESS = r"^.+:[0-9]+$"
Address = Annotated[str, StringConstraints(pattern=ADDRESS)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeTable(Strict):
    """What the flags of p2pdo-node say; a flag wins. Paths are relative to the file."""

    name: Name | None = None
    coordinator: Address | None = None
    listen: Address = "127.0.0.1:0"
    advertise: Address | None = None
    state: Path | None = None
    insecure: bool = False
    pull: Literal["stream", "poll"] = "stream"
    pull_interval: float = Field(default=1.0, gt=0)
    connect_timeout: float = Field(default=10.0, gt=0)
    keep_states: bool = False
    value_limit: int = Field(default=1 << 30, gt=0)
    python_path: list[Path] = []


class Policy(Strict):
    """What leaves this site beside what a workload is for.

    Attributes:
        redact: an exception's words and traceback stay in the node's log.
    """

    redact: bool = False


class Allow(Strict):
    """What a workload may ask of this node, by name; a list that is left out allows all."""

    algorithms: list[str] | None = None
    problems: list[str] | None = None
    participants: list[str] | None = None
    executors: list[str] | None = None


class Component(Strict):
    """Something made once per workload, for its executors, filters and handlers to share."""

    path: Place
    args: dict[str, JsonValue] = {}


class ExecutorTable(Component):
    """An executor.

    Attributes:
        tasks: which of its handlers are offered; all where there is no list.
        processes: in how many fresh processes it runs; 0 is the node's own.
        memory: bytes that each of these processes may use.
        threads: how many threads a numerical library may use in each.
        nice: how far these processes step back where cores are scarce.
        cpu: how much of one core these processes of a workload may use together.
    """

    tasks: list[str] | None = None
    processes: int = Field(default=0, ge=0, le=1024)
    memory: int | None = Field(default=None, gt=0)
    threads: int = Field(default=1, ge=1)
    nice: int = Field(default=0, ge=0, le=19)
    cpu: float | None = Field(default=None, ge=0.01, le=1024)


class FilterTable(Component):
    """A filter, in its place among those of its list; for all tasks where none are named."""

    tasks: list[str] = []


class HandlerTable(Strict):
    """A function `f(event, context)` that is told of these events."""

    events: list[str] = Field(min_length=1)
    path: Place


class WorkloadTable(Strict):
    """What this site sets differently for workloads of that name: a value of its own wins."""

    parameters: dict[str, JsonValue] = {}


class Configuration(Strict):
    """A whole file."""

    node: NodeTable = NodeTable()
    policy: Policy = Policy()
    allow: Allow = Allow()
    site: dict[str, JsonValue] = {}
    executors: dict[Name, ExecutorTable] = {}
    components: dict[Name, Component] = {}
    task_data_filters: list[FilterTable] = []
    task_result_filters: list[FilterTable] = []
    handlers: list[HandlerTable] = []
    problems: dict[Name, Place] = {}
    participants: dict[Name, Place] = {}
    workloads: dict[Name, WorkloadTable] = {}
