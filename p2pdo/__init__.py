"""p2pdo: peer-to-peer distributed optimization.

N nodes, each with private data, agree on the minimiser of the sum of their costs by exchanging
values with graph neighbours only.

    import p2pdo

    result = p2pdo.run("breast-cancer", algorithm="gradient-tracking", nodes=8, tol=1e-8)
    print(result.summary.gap, result.x)

The tour:

- `run(...)` for plain scripts, `compare(...)` for several algorithms and trials; `local(...)` and
  `connect(...)` for asyncio: networks of nodes to `submit` runs to.
- `Executor`, `task`, `Context`, `on`: what a node does for tasks; `Tasks` sends them.
- `participant`: makes a training loop of your own, in PyTorch, JAX or NumPy, one of the network's.
- `algorithms`: the library; an own method is a class with `init` and `step`, see `effects`.
- `problems`: costs; anything with `dimension`, `value` and `gradient` is one.
- `graphs`: topologies, mixing weights, spectra.
- `errors`: everything raised on purpose is a `P2pdoError`.

Everything here is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from p2pdo import environment as environment

if TYPE_CHECKING:
    from p2pdo import algorithms, effects, errors, graphs, problems
    from p2pdo.api.comparisons.comparison import Comparison, compare
    from p2pdo.api.network import LocalNetwork, local
    from p2pdo.api.remote import RemoteNetwork, connect
    from p2pdo.api.runs import Result, Run
    from p2pdo.api.script import run
    from p2pdo.driving.results import TaskResult
    from p2pdo.driving.tasks import Tasks
    from p2pdo.errors import P2pdoError
    from p2pdo.node.context import Context
    from p2pdo.node.events import Event, on
    from p2pdo.node.executors import Executor, task
    from p2pdo.node.topics import Message, Reply, on_message
    from p2pdo.participants.definition import participant
    from p2pdo.protocol.handed import Task

__all__ = [
    "Comparison",
    "Context",
    "Event",
    "Executor",
    "LocalNetwork",
    "Message",
    "P2pdoError",
    "RemoteNetwork",
    "Reply",
    "Result",
    "Run",
    "Task",
    "TaskResult",
    "Tasks",
    "algorithms",
    "compare",
    "connect",
    "effects",
    "errors",
    "graphs",
    "local",
    "on",
    "on_message",
    "participant",
    "problems",
    "run",
    "task",
]

_PLACES = {
    "Comparison": "p2pdo.api.comparisons.comparison",
    "compare": "p2pdo.api.comparisons.comparison",
    "LocalNetwork": "p2pdo.api.network",
    "P2pdoError": "p2pdo.errors",
    "RemoteNetwork": "p2pdo.api.remote",
    "Result": "p2pdo.api.runs",
    "Run": "p2pdo.api.runs",
    "Context": "p2pdo.node.context",
    "Event": "p2pdo.node.events",
    "Executor": "p2pdo.node.executors",
    "Message": "p2pdo.node.topics",
    "Reply": "p2pdo.node.topics",
    "Task": "p2pdo.protocol.handed",
    "TaskResult": "p2pdo.driving.results",
    "Tasks": "p2pdo.driving.tasks",
    "connect": "p2pdo.api.remote",
    "local": "p2pdo.api.network",
    "on": "p2pdo.node.events",
    "on_message": "p2pdo.node.topics",
    "participant": "p2pdo.participants.definition",
    "run": "p2pdo.api.script",
    "task": "p2pdo.node.executors",
}
_ROOMS = frozenset({"algorithms", "effects", "errors", "graphs", "problems"})


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"p2pdo.{name}")
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'p2pdo' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
