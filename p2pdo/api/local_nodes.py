"""A coordinator and nodes in this process, over real gRPC, for drivers of tasks.

The same daemons' code as anywhere, in the caller's event loop: what works here works between
machines. Every connection shows a token, because others share this machine's loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from p2pdo.coordinator.serving import serving
from p2pdo.driving.client import Client
from p2pdo.errors import ConfigError
from p2pdo.node.configuration.building import build
from p2pdo.node.configuration.provider import configured
from p2pdo.node.configuration.reading import EMPTY, read_configuration
from p2pdo.node.configuration.showing import built_in
from p2pdo.node.executors import Executor, ExecutorFactory, tasks_of
from p2pdo.node.run import NodeSettings, Stop, run_node
from p2pdo.node.site import Provider, Services
from p2pdo.node.topics import topics_of
from p2pdo.node.workplace import Workplace
from p2pdo.runtime.groups import task_group

LOOPBACK = "127.0.0.1:0"

Executors = Mapping[str, Callable[[], Executor]]


@contextlib.asynccontextmanager
async def local_nodes(
    names: Sequence[str], config: Path | None, executors: Executors
) -> AsyncIterator[Client]:
    """A coordinator and nodes of these names; gives its client.

    Raises:
        ConfigError: the configuration cannot work.
    """
    token = secrets.token_hex(32)
    with tempfile.TemporaryDirectory(prefix="p2pdo-") as name:
        folder = Path(name)
        async with (
            serving(folder / "coordinator", LOOPBACK, token=token) as address,
            running_nodes(names, address, folder, config=config, executors=executors, token=token),
            Client(address, token) as client,
        ):
            yield client


@contextlib.asynccontextmanager
async def running_nodes(
    names: Sequence[str],
    coordinator: str,
    folder: Path,
    *,
    executors: Executors,
    config: Path | None = None,
    token: str | None = None,
) -> AsyncIterator[None]:
    """Nodes in this loop, each with the file's configuration and these executors beside.

    They are there when all have joined, and end with the block.

    Raises:
        ConfigError: the configuration cannot work.
    """
    source = EMPTY if config is None else read_configuration(config)
    base = build(source, built_in())
    tasks = _whose(executors, base.tasks, _tasks_of, "task '{}' is served")
    topics = _whose(executors, base.topics, _topics_of, "messages about '{}' are answered")
    provide = _with_executors(configured(source), executors, tasks, topics)
    stop = Stop()
    async with task_group() as group:
        joined = []
        for name in names:
            ready = asyncio.Event()
            settings = NodeSettings(
                coordinator=coordinator,
                name=name,
                state=folder / name,
                insecure=True,
                token=token,
                allow_code=token is not None,
            )
            work = run_node(settings, provide, stop=stop, ready=_setter(ready))
            group.create_task(work, name=f"node {name}")
            joined.append(ready)
        for ready in joined:
            await ready.wait()
        try:
            yield
        finally:
            stop.ask()
            stop.ask()


def _setter(event: asyncio.Event) -> Callable[[str], None]:
    return lambda _address: event.set()


def _whose(
    executors: Executors,
    taken: Mapping[str, str],
    names_of: Callable[[str, type], Iterable[str]],
    words: str,
) -> dict[str, str]:
    """By the names of tasks or topics, which executor has them.

    Raises:
        ConfigError: two have the same.
    """
    whose = dict(taken)
    for executor, make in executors.items():
        for name in names_of(executor, make if isinstance(make, type) else type(make())):
            if name in whose:
                raise ConfigError(
                    f"{words.format(name)} by '{whose[name]}' and by '{executor}'",
                    hint="give one of them another name",
                )
            whose[name] = executor
    return whose


def _with_executors(
    provide: Provider, executors: Executors, tasks: Mapping[str, str], topics: Mapping[str, str]
) -> Provider:
    """The same, with executors that are given as classes or functions without arguments."""

    @contextlib.asynccontextmanager
    async def more(services: Services) -> AsyncIterator[Workplace]:
        made: dict[str, ExecutorFactory] = {name: _factory(m) for name, m in executors.items()}
        async with provide(services) as base:
            yield replace(base, executors={**base.executors, **made}, tasks=tasks, topics=topics)

    return more


def _factory(make: Callable[[], Executor]) -> ExecutorFactory:
    return lambda _context: make()


def _topics_of(_name: str, executor: type) -> list[str]:
    return topics_of(executor)


def _tasks_of(name: str, executor: type) -> list[str]:
    tasks = list(tasks_of(executor))
    if not tasks:
        raise ConfigError(
            f"executor '{name}' has no method marked @task",
            hint='write @task("name") above each of its handlers',
        )
    return tasks
