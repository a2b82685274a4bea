"""Submitting so that a lost reply leaves no workload behind that nobody knows of.

The submitter's request id names the workload: the same id never makes a second one. So a
submission whose reply is lost, because the coordinator restarts or the network breaks, is repeated
with the same id until there is an answer, and finds what it made.
"""

from __future__ import annotations

from collections.abc import Mapping

from p2pdo.driving.client import Client
from p2pdo.driving.patience import persist
from p2pdo.errors import DeadlineExceeded, Unreachable
from p2pdo.protocol.tasks import workload_id_of
from p2pdo.types import Plain


async def submit(client: Client, spec: Mapping[str, Plain], request_id: str) -> str:
    """The id of the workload that this request has made.

    Raises:
        P2pdoError: the coordinator refuses, or nobody is at its address.
        Unreachable, DeadlineExceeded: it went away meanwhile and did not come back; the hint has
            the id of the workload, which may be there nonetheless.
    """
    await client.nodes()  # a wrong address is told at once, and not when patience has run out
    try:
        return await persist(client, lambda: client.submit(spec, request_id))
    except (Unreachable, DeadlineExceeded) as error:
        workload_id = workload_id_of(request_id)
        raise type(error)(
            f"{error.message}; whether it has taken workload {workload_id} is not known",
            hint=f"when it is back: p2pdo show {workload_id}, p2pdo stop {workload_id}",
            workload=workload_id,
        ) from error
