"""The `participant` executor: one node's part in a run of a participant.

Two tasks, as of an optimization. `config` brings the node's place in the topology, looks the
participant up and opens the edges to the neighbours; `run_participant` brings its parameters and
runs it to its end, on the workload's own thread. What it returns is the task's result.

Code never travels: a participant is a name of this site's table. Only a node that a local run's
launcher started (`allow_code`) imports one by its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from p2pdo.data import encode
from p2pdo.errors import ConfigError, LocalProtocolError, did_you_mean
from p2pdo.node.edges import Assigned, Edges
from p2pdo.node.executors import Executor, Task, WorkloadContext, task
from p2pdo.node.metering import Metering
from p2pdo.node.optimization import Site
from p2pdo.participants.definition import Participant
from p2pdo.participants.me import Part, folders_of
from p2pdo.participants.taking_part import take_part
from p2pdo.protocol.tasks_of_runs import CONFIG, RUN_PARTICIPANT
from p2pdo.runtime.stages import ThreadStage


class Participating(Executor):
    """One workload's participant at this node."""

    needed_until_end = True

    def __init__(self, site: Site, context: WorkloadContext) -> None:
        self._site = site
        self._context = context
        self._config: Assigned | None = None
        self._edges = Edges(site.links, context.workload_id)
        self._participant: Participant | None = None

    async def close(self) -> None:
        self._edges.close()
        self._participant = None

    @task(CONFIG)
    async def configure(self, task: Task) -> object:
        config = self._config = Assigned.parse(task.payload)
        spec = config.spec["participant"]
        participant = await self._context.compute.run(self._find, spec)
        participant.bind(self._parameters(spec))  # a mistake is told before anybody starts
        self._participant = participant
        self._edges.open(config)
        return {}

    def _find(self, spec: Mapping[str, Any]) -> Participant:
        where = spec["where"]
        if where is not None and not self._site.allow_code:
            raise ConfigError(
                "this node was asked for a participant by its place; code never travels to it",
                hint="submit a participant by the name under which the sites have installed it",
            )
        if where is None:
            self._site.offers.require_allowed("participants", spec["name"])
        installed = self._site.offers.participants
        found: Any = installed.get(spec["name"]) if where is None else where
        if found is None:
            known = list(installed)
            raise ConfigError(
                f"this site has no participant '{spec['name']}'",
                hint=did_you_mean(spec["name"], known)
                if known
                else "it has installed none: [participants] in its p2pdo.toml names them",
                node=self._context.node,
            )
        if isinstance(found, str):
            found = encode.load_object(found)
        if not isinstance(found, Participant):
            raise ConfigError(
                f"'{spec['name']}' is {type(found).__name__}, not a participant",
                hint="write @p2pdo.participant above the function",
                node=self._context.node,
            )
        return found

    def _parameters(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """The workload's, with the site's own in their place."""
        return self._site.offers.parameters_for(spec["name"], spec["parameters"])

    @task(RUN_PARTICIPANT)
    async def run_participant(self, task: Task) -> object:
        config, participant = self._config, self._participant
        exchanger = self._edges.exchanger
        if config is None or exchanger is None or participant is None:
            raise LocalProtocolError("run_participant came before config")
        assert isinstance(task.payload, dict)
        spec = config.spec
        given = self._site.offers.parameters_for(
            spec["participant"]["name"], task.payload["parameters"]
        )
        part = Part(
            participant,
            participant.bind(given),
            config.place,
            config.names,
            config.nodes,
            spec["rounds"],
            spec["observe_every"],
            spec["seed"],
            tuple(spec["record"]),
            *folders_of(self._site.state, self._context.workload_id, spec["checkpoints"]),
        )
        loop = asyncio.get_running_loop()
        began = loop.time()
        metering = Metering(self._site.control, self._context, lambda: exchanger.lanes)
        async with metering.sent():
            outcome = await take_part(
                part,
                exchanger,
                ThreadStage(self._context.compute),
                lambda progress: metering.tell(progress, progress.logged),
            )
        return {
            "iterations": outcome.iterations,
            "bytes_sent": outcome.bytes_sent,
            "messages_sent": outcome.messages_sent,
            "seconds": loop.time() - began,
            "header_bytes": self._edges.header_bytes,
            "lanes": exchanger.lanes,
            "result": outcome.result,
        }
