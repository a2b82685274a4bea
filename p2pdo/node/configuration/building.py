"""From a configuration to a workplace; whatever in it cannot work is told before the node joins.

Every path is imported, every class's arguments are held against its constructor, every task has
exactly one executor. What only a call can tell, a constructor that raises, is told by the tasks of
the workload that it was to serve.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from p2pdo.errors import ConfigError
from p2pdo.node.configuration.findings import Findings
from p2pdo.node.configuration.models import Component, ExecutorTable, FilterTable
from p2pdo.node.configuration.reading import Source
from p2pdo.node.context import WorkloadContext
from p2pdo.node.executors import Executor, ExecutorFactory, tasks_of
from p2pdo.node.topics import topics_of
from p2pdo.node.workers.executor import worker_executor
from p2pdo.node.workers.spec import Part, WorkerSpec
from p2pdo.node.workplace import SITE, FilterOffer, Workplace


def build(source: Source, base: Workplace, logs: Path | None = None) -> Workplace:
    """The base's workplace with what the site adds; `logs` is for what worker processes print.

    Raises:
        ConfigError: with every mistake and its line.
    """
    found = Findings(source)
    made = build_with(found, base, logs)
    found.check()
    return made


def build_with(found: Findings, base: Workplace, logs: Path | None = None) -> Workplace:
    """The same; the mistakes are in `found`, and while there are any the workplace is no use."""
    add_python_path(found.source)
    file = found.source.configuration
    components = {
        name: make
        for name, table in file.components.items()
        if (make := _maker(found, table, "components", name)) is not None
    }
    executors, tasks, topics = _executors(found, base, logs)
    data = _filters(found, file.task_data_filters, "task_data_filters")
    results = _filters(found, file.task_result_filters, "task_result_filters")
    listeners = _listeners(found)
    allowed = _allowed(executors, file.allow.executors)
    return replace(
        base,
        executors=allowed,
        tasks={task: name for task, name in tasks.items() if name in allowed},
        topics={topic: name for topic, name in topics.items() if name in allowed},
        site=file.site,
        components=components,
        data_filters=data,
        result_filters=results,
        listeners=listeners,
        redacts=file.policy.redact,
    )


def _listeners(found: Findings) -> dict[str, list[Callable[..., Any]]]:
    """By event, in the order of the file."""
    listeners: dict[str, list[Callable[..., Any]]] = {}
    for i, table in enumerate(found.source.configuration.handlers):
        function = found.load(table.path, "handlers", i, "path")
        if function is not None and not callable(function):
            found.add(f"{table.path} cannot be called", "handlers", i, "path")
        for event in table.events:
            listeners.setdefault(event, []).append(function)
    return listeners


def add_python_path(source: Source) -> None:
    """Lets the site's own modules be imported."""
    for path in reversed(source.configuration.node.python_path):
        resolved = str(source.resolve(path).resolve())
        if resolved not in sys.path:
            sys.path.insert(0, resolved)


def _allowed(
    executors: Mapping[str, ExecutorFactory], names: list[str] | None
) -> dict[str, ExecutorFactory]:
    return {name: make for name, make in executors.items() if names is None or name in names}


def _executors(
    found: Findings, base: Workplace, logs: Path | None
) -> tuple[dict[str, ExecutorFactory], dict[str, str], dict[str, str]]:
    """The executors; and by the names of tasks and of topics, whose they are."""
    executors, tasks, topics = dict(base.executors), dict(base.tasks), dict(base.topics)
    for name, table in found.source.configuration.executors.items():
        if name == SITE or name in executors:
            found.add(f"the executor '{name}' has a name that p2pdo uses", "executors", name)
            continue
        _require_processes(found, name, table)
        make = _maker(found, table, "executors", name)
        if make is None:
            continue
        offered = _tasks(found, name, table, make.func)
        for task in offered:
            if task in tasks:
                found.add(
                    f"task '{task}' is served by '{tasks[task]}' and by '{name}'; "
                    "leave it out of the tasks of one",
                    *("executors", name),
                )
            tasks.setdefault(task, name)
        for topic in topics_of(make.func):
            if topic in topics:
                found.add(
                    f"messages about '{topic}' are answered by '{topics[topic]}' and by '{name}'",
                    *("executors", name),
                )
            topics.setdefault(topic, name)
        if table.processes and offered:
            executors[name] = _in_workers(found.source, name, table, offered, logs)
        else:
            executors[name] = _factory(make)
    return executors, tasks, topics


def _require_processes(found: Findings, name: str, table: ExecutorTable) -> None:
    """Limits of worker processes limit nothing where there are none."""
    if not table.processes:
        for key in ("memory", "threads", "nice", "cpu"):
            if key in table.model_fields_set:
                found.add(
                    f"{key} is for worker processes; add processes = 1 or more",
                    *("executors", name, key),
                )


def _tasks(found: Findings, name: str, table: ExecutorTable, cls: Any) -> list[str]:
    """The tasks that an executor is to handle."""
    try:
        known = list(tasks_of(cls)) if isinstance(cls, type) else []
    except ConfigError as error:
        found.add(error.message, "executors", name, "path")
        return []
    if not (isinstance(cls, type) and issubclass(cls, Executor)):
        found.add(f"{table.path} is no Executor", "executors", name, "path")
    elif not known and table.tasks is None:
        found.add(f"{table.path} has no method marked @task", "executors", name, "path")
    for task in table.tasks or ():
        if known and task not in known:
            found.add(
                f"{table.path} has no task '{task}'; it has {', '.join(known)}",
                *("executors", name, "tasks"),
            )
    return known if table.tasks is None else table.tasks


def _factory(make: Callable[[], Executor]) -> ExecutorFactory:
    async def factory(context: WorkloadContext) -> Executor:
        return await context.compute.run(make)

    return factory


def _in_workers(
    source: Source, name: str, table: ExecutorTable, tasks: list[str], logs: Path | None
) -> ExecutorFactory:
    file = source.configuration
    return worker_executor(
        WorkerSpec(
            name=name,
            path=source.locate(table.path),
            args=table.args,
            tasks=tasks,
            components={
                key: Part(source.locate(part.path), part.args)
                for key, part in file.components.items()
            },
            site=file.site,
            processes=table.processes,
            threads=table.threads,
            memory=table.memory,
            nice=table.nice,
            cpu=table.cpu,
            logs=logs,
        )
    )


def _filters(found: Findings, tables: list[FilterTable], key: str) -> list[FilterOffer]:
    offers = []
    for i, table in enumerate(tables):
        make = _maker(found, table, key, i)
        if make is None:
            continue
        if not callable(getattr(make.func, "apply", None)):
            found.add(f"{table.path} has no method apply(data, task, context)", key, i, "path")
        offers.append(FilterOffer(table.path.rpartition(":")[2], make, table.tasks))
    return offers


def _maker(found: Findings, table: Component, *place: str | int) -> functools.partial[Any] | None:
    """How the thing is made; None, and a mistake, where it cannot be."""
    thing = found.load(table.path, *place, "path")
    if thing is None:
        return None
    if not callable(thing):
        found.add(f"{table.path} cannot be called", *place, "path")
        return None
    found.require_arguments(thing, table.args, table.path, *place, "args")
    return functools.partial(thing, **table.args)
