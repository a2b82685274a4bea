"""The plan of a run: what was looked up, and how losses, stopping and monitors were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.catalogue import AnyAlgorithm, name_of
from p2pdo.api.asynchrony import asynchrony_of, require_synchrony
from p2pdo.api.drops import read_drops, require_policy
from p2pdo.api.requests import Request
from p2pdo.config import iterations_between_looks
from p2pdo.errors import ConfigError
from p2pdo.graphs.distances import hops
from p2pdo.graphs.graph import Graph
from p2pdo.graphs.weights import Weights
from p2pdo.protocol.asynchronous.auditing import require_ledger
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.coding import NONE, Coding
from p2pdo.protocol.monitoring import require_invariants
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.settling import Settle
from p2pdo.types import States


def plan_for(
    request: Request,
    algorithm: AnyAlgorithm,
    problems: Sequence[Any],
    network: tuple[Graph, Weights],
    starts: States,
    *,
    coding: Coding | None,
) -> Plan:
    """Of rounds, or asynchronous, as the algorithm is.

    Raises:
        ConfigError: it is asked for what its kind of plan, or its algorithm, does not do.
    """
    where = (problems, *network, starts)
    until = (request.rounds, request.observe_every, request.tol, request.seed)
    drops = read_drops(request.drop, request.seed)
    is_asked_for = request.monitor not in ("auto", "off")
    monitor = iterations_between_looks(request.monitor, request.observe_every)
    if isinstance(algorithm, AsynchronousAlgorithm):
        if is_asked_for:
            require_ledger(type(algorithm))
        return AsynchronousPlan(
            algorithm,
            *where,
            *until,
            drops=drops,
            monitor_every=monitor,
            asynchrony=asynchrony_of(request),
        )
    require_synchrony(request, name_of(type(algorithm)))
    if drops is not None:
        require_policy(type(algorithm))
        if request.settle is not None:
            raise ConfigError(
                "nodes find out together where none moves (--settle) from values that all arrive",
                hint="with --drop, stop by --tol or --rounds",
            )
    settling = None if request.settle is None else Settle(request.settle, hops(network[0]))
    codec = NONE if coding is None else str(coding)
    if is_asked_for:
        require_invariants(type(algorithm))
    return Plan(algorithm, *where, *until, settling, drops, codec, monitor)
