"""Controllers: code that drives a workload's tasks from inside the coordinator.

    async def averaging(tasks: Tasks, rounds: int = 3) -> object:
        weights = None
        for _ in range(rounds):
            results = await tasks.broadcast_and_wait("train", weights, min_responses=2)
            values = [result.value for result in results if result.is_ok]
            weights = sum(values) / len(values)
        return {"weights": weights}

A controller is an async function of a driver and plain parameters. In a user's script it is called
with `net.driver()`; a coordinator runs those that its operator has registered by name, for
workloads that name one: what it returns is the workload's result, what it raises is its failure,
and the end of the workload cancels it. It speaks with its coordinator as every user does, over a
connection, so the two cannot corrupt each other.

Controllers are found under the names of the entry-point group "p2pdo.controllers" and of the
coordinator's --controller NAME=package.module:function.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from p2pdo.config import TasksSpec
from p2pdo.driving.client import Client
from p2pdo.driving.tasks import Tasks
from p2pdo.errors import ConfigError, P2pdoError, WorkloadFailed, WorkloadStopped, did_you_mean
from p2pdo.runtime.foreign import contained
from p2pdo.wire.plain import encode_bounded

log = logging.getLogger(__name__)

Controller: TypeAlias = Callable[..., Awaitable[Any]]

GROUP = "p2pdo.controllers"


def find(controllers: Mapping[str, Controller], name: str) -> Controller:
    """The controller of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in controllers:
        raise ConfigError(
            f"this coordinator has no controller '{name}'",
            hint=did_you_mean(name, list(controllers))
            if controllers
            else "its operator registers them: p2pdo-coordinator --controller NAME=module:function",
        )
    return controllers[name]


async def run_controller(
    controller: Controller, client: Client, workload_id: str, spec: TasksSpec
) -> str:
    """The controller's result as JSON.

    Raises:
        WorkloadFailed: it raised; tells its words.
        WorkloadStopped: the workload ended before it did.
    """
    name = spec.controller or ""
    roles = {role: given.model_dump() for role, given in spec.roles.items()}
    async with Tasks(client, spec.nodes, roles=roles, workload_id=workload_id) as tasks:
        work = asyncio.ensure_future(_call(controller, tasks, spec))
        ended = asyncio.ensure_future(tasks.ended())
        try:
            await asyncio.wait({work, ended}, return_when=asyncio.FIRST_COMPLETED)
            return encode_bounded(
                _result_of(work), f"what controller '{name}' returned", WorkloadFailed
            )
        finally:
            work.cancel()
            ended.cancel()
            await asyncio.gather(work, ended, return_exceptions=True)


async def _call(controller: Controller, tasks: Tasks, spec: TasksSpec) -> Any:
    """What it returns. Wrong parameters are a failure like any other."""
    try:
        return await contained(controller(tasks, **spec.parameters))
    except P2pdoError:
        raise
    except Exception as error:
        log.exception("controller %s of workload %s failed", spec.controller, tasks.workload_id)
        raise WorkloadFailed(
            f"controller '{spec.controller}' raised {type(error).__name__}: {error}",
            hint="look at the coordinator's log",
            workload=tasks.workload_id,
        ) from error


def _result_of(work: asyncio.Future[Any]) -> Any:
    if not work.done():
        raise WorkloadStopped("the workload ended before its controller")
    return work.result()
