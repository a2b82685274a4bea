"""The nodes of a local network's drivers: started at the first use, ended with the network.

In one process they are tasks of the caller's loop; in processes they are daemons, whose
configuration is the user's file with the executors that were given beside it. An executor for
processes is a class at the top level of a module: the daemons import it from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from p2pdo.api.local_nodes import Executors, local_nodes
from p2pdo.api.processes import serving_processes
from p2pdo.data import encode
from p2pdo.driving.client import Client
from p2pdo.driving.tasks import Tasks
from p2pdo.errors import ConfigError, P2pdoError
from p2pdo.node.configuration.reading import EMPTY, read_configuration
from p2pdo.reporting.toml_text import dumps

Watched = Callable[[Awaitable[None]], Awaitable[None]]


class Serving:
    """A coordinator and nodes for drivers."""

    def __init__(
        self, names: Sequence[str], config: Path | None, executors: Executors, *, processes: bool
    ) -> None:
        self._names = names
        self._config = config
        self._executors = executors
        self._processes = processes
        self._drivers: set[Tasks] = set()
        self._closing = asyncio.Event()
        self._client: asyncio.Future[Client] | None = None
        self._work: asyncio.Task[None] | None = None

    async def client(self) -> Client:
        """The coordinator's client, once the nodes are there; starts them if they are not.

        Raises:
            ConfigError: the configuration or an executor cannot work.
            WorkloadFailed: a process did not start, or has died.
        """
        if self._client is None:
            self._client = asyncio.get_running_loop().create_future()
            self._work = asyncio.create_task(self._run(self._client), name="nodes")
        return await asyncio.shield(self._client)

    @contextlib.contextmanager
    def driven_by(self, tasks: Tasks) -> Any:
        """Tells a driver, while the block lasts, of a node's death."""
        self._drivers.add(tasks)
        try:
            yield
        finally:
            self._drivers.discard(tasks)

    async def close(self) -> None:
        self._closing.set()
        if self._work is not None:
            await asyncio.wait([self._work])

    async def _run(self, client: asyncio.Future[Client]) -> None:
        try:
            async with self._nodes() as (made, watched):
                client.set_result(made)
                await watched(self._until_closed())
        except BaseException as error:
            if not client.done():
                client.set_exception(error)
                client.exception()  # asked for or not, it is no "never retrieved"
            elif isinstance(error, P2pdoError):
                for tasks in self._drivers:
                    tasks.fail(error)
            else:
                raise

    async def _until_closed(self) -> None:
        await self._closing.wait()

    @contextlib.asynccontextmanager
    async def _nodes(self) -> AsyncIterator[tuple[Client, Watched]]:
        if not self._processes:
            async with local_nodes(self._names, self._config, self._executors) as client:
                yield client, _unwatched
            return
        with tempfile.TemporaryDirectory(prefix="p2pdo-") as name:
            folder = Path(name)
            config = self._write_configuration(folder / "p2pdo.toml")
            async with serving_processes(self._names, folder, config) as made:
                yield made

    def _write_configuration(self, path: Path) -> Path:
        """The user's file and executors, as the daemons read them."""
        source = EMPTY if self._config is None else read_configuration(self._config)
        tables = source.configuration.model_dump(mode="json", exclude_unset=True)
        node = tables.setdefault("node", {})
        node["python_path"] = [
            str(source.resolve(Path(place)).resolve()) for place in node.get("python_path", [])
        ]
        for name, executor in self._executors.items():
            if not isinstance(executor, type):
                raise ConfigError(
                    f"executor '{name}' is no class, and processes make theirs from a class",
                    hint="give the class itself, or config= with its path and arguments",
                )
            tables.setdefault("executors", {})[name] = {"path": encode.locate(executor)}
        path.write_text(dumps(tables), encoding="utf-8")
        return path


async def _unwatched(work: Awaitable[None]) -> None:
    await work
