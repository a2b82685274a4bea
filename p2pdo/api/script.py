"""`p2pdo.run(...)`: a whole run as one call, for plain scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.api.network import local
from p2pdo.api.order import check_run_order
from p2pdo.api.runs import Result
from p2pdo.errors import LocalProtocolError


def run(
    problem: str | Sequence[Any],
    algorithm: str | AnyAlgorithm = "gradient-tracking",
    *,
    nodes: int | None = None,
    topology: Any = "ring",
    weights: str | None = None,
    on: str = "dense",
    **settings: Any,
) -> Result:
    """Runs an algorithm on a problem over `nodes` nodes of this machine, to the end.

    `on` is the executor; `settings` are those of `LocalNetwork.submit`: rounds, tol, seed,
    parameters, observe_every, observe, start, partition, dtype, out, timeline, force.

    Raises:
        ConfigError: something is unknown or does not fit.
        WorkloadFailed: the run failed; says node and iteration.
        LocalProtocolError: an event loop already runs here.
    """
    check_run_order(problem, algorithm)
    refuse_running_loop("p2pdo.run()")
    if nodes is None:
        nodes = 8 if isinstance(problem, str) else len(problem)

    async def main() -> Result:
        async with local(nodes, topology, weights, on=on) as net:
            submitted = await net.submit(algorithm, problem, **settings)
            return await submitted.result()

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def refuse_running_loop(call: str) -> None:
    """Refuses a call that brings a loop of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise LocalProtocolError(
        f"{call} cannot be called where an event loop runs, as in a notebook",
        hint="there, write: async with p2pdo.local(…) as net: run = await net.submit(…)",
    )
