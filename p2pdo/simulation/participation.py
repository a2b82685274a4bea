"""Participants of all nodes in one event loop, over the network in memory.

`run_participants` gives each node's function a thread of its own and runs in the caller's loop;
`simulate_participants` runs the same in virtual time under a seeded weather.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pdo.graphs.graph import Graph
from p2pdo.graphs.weights import Weights
from p2pdo.participants.definition import Participant
from p2pdo.participants.me import Outcome, Part, folders_of
from p2pdo.participants.taking_part import Tell, take_part
from p2pdo.protocol.exchanging import Place
from p2pdo.protocol.plan import node_name
from p2pdo.runtime.compute import ThreadCompute
from p2pdo.runtime.exchange import Exchanger
from p2pdo.runtime.stages import Stage, ThreadStage, TurnStage
from p2pdo.simulation.clock import VirtualTimeLoop
from p2pdo.simulation.members import first_error
from p2pdo.simulation.network import SimulatedNetwork, Weather
from p2pdo.transports.memory import MemoryNetwork
from p2pdo.types import NodeId


@dataclass(frozen=True, eq=False)
class ParticipantPlan:
    """One run of a participant, resolved and checked.

    Attributes:
        parameters: all of them, with their values.
        rounds: the limit.
        observe_every: rounds between metrics.
        record: the names that nodes keep a history of.
        checkpoints: the name under which runs go on from each other; None: this run's.
        folders: node i's own folder at index i.
    """

    participant: Participant
    parameters: dict[str, Any]
    graph: Graph
    weights: Weights
    rounds: int
    folders: Callable[[int], Path]
    observe_every: int = 1
    seed: int = 0
    record: tuple[str, ...] = ()
    checkpoints: str | None = None

    @property
    def nodes(self) -> int:
        return self.graph.n

    def name(self, node: int) -> NodeId:
        return node_name(node)

    def part(self, node: int, workload: str) -> Part:
        hears, tells = self.graph.in_neighbors(node), self.graph.out_neighbors(node)
        names = {j: self.name(j) for j in sorted({*hears, *tells})}
        row = self.weights.row(node)
        return Part(
            self.participant,
            self.parameters,
            Place(node, self.name(node), hears, tells, row, names),
            names,
            self.nodes,
            self.rounds,
            self.observe_every,
            self.seed,
            self.record,
            *folders_of(self.folders(node), workload, self.checkpoints),
        )


async def run_participants(plan: ParticipantPlan, workload: str, tell: Tell) -> list[Outcome]:
    """Runs the plan in the running loop; each node's outcome, in node order."""
    computes = [ThreadCompute(plan.name(i)) for i in range(plan.nodes)]
    try:
        stages = [ThreadStage(compute) for compute in computes]
        return await run_parts(plan, workload, tell, MemoryNetwork(), stages)
    finally:
        for compute in computes:
            compute.close()


def simulate_participants(
    plan: ParticipantPlan,
    workload: str,
    tell: Tell,
    *,
    delay_seed: int = 0,
    weather: Weather | None = None,
) -> list[Outcome]:
    """Runs the plan in a loop of its own whose time is virtual."""
    network = SimulatedNetwork(delay_seed, weather or Weather())
    stages = [TurnStage() for _ in range(plan.nodes)]
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run_parts(plan, workload, tell, network, stages))


async def run_parts(
    plan: ParticipantPlan,
    workload: str,
    tell: Tell,
    network: MemoryNetwork,
    stages: Sequence[Stage],
) -> list[Outcome]:
    """Runs one member a node over `network`; the first failure ends all."""
    digest = plan.weights.digest()

    async def take(node: int) -> Outcome:
        part = plan.part(node, workload)
        exchanger = Exchanger(part.place, {j: NodeId(n) for j, n in part.names.items()}, digest)
        network.join(plan.name(node), exchanger)
        return await take_part(part, exchanger, stages[node], tell)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(take(i), name=plan.name(i)) for i in range(plan.nodes)]
    except BaseExceptionGroup as group_of_errors:
        raise first_error(group_of_errors) from None
    return [task.result() for task in tasks]
