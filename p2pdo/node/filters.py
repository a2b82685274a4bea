"""Filters: what a site does to the data of tasks on their way in, and of results on their way out.

    class Clip:
        def __init__(self, bound: float) -> None: ...

        def apply(self, data: Plain, task: Task, context: Context) -> Plain:
            return {**data, "update": clip(data["update"], self.bound)}

A site lists them in its configuration, in order, for all tasks or for some. They run on the
workload's thread. One that raises fails the task, by its name: what could not be filtered does not
pass. A failure passes no result filter: what its words tell is a matter of the site's policy.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from p2pdo.errors import P2pdoError, TaskFailed
from p2pdo.node.context import WorkloadContext
from p2pdo.protocol.handed import Task


class Filter(Protocol):
    """Takes data and gives what passes instead."""

    def apply(self, data: Any, task: Task, context: WorkloadContext, /) -> Any: ...


@dataclass(frozen=True)
class FilterStep:
    """One filter in its place: for these tasks, or for all where there are none named."""

    name: str
    filter: Filter
    tasks: Collection[str] = ()

    def concerns(self, task: str) -> bool:
        return not self.tasks or task in self.tasks


def apply_all(
    steps: Sequence[FilterStep], data: Any, task: Task, context: WorkloadContext, way: str
) -> Any:
    """The data after all filters that concern the task.

    Raises:
        TaskFailed: a filter raised; names it.
    """
    for step in steps:
        try:
            data = step.filter.apply(data, task, context)
        except P2pdoError:
            raise
        except Exception as error:
            raise TaskFailed(
                f"the {way} filter '{step.name}' raised {type(error).__name__}: {error}",
                hint="look at that filter at the node; nothing passed",
            ) from error
    return data
