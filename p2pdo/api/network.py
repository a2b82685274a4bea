"""Where runs run: `local()`, N nodes on this machine; both kinds of network look the same.

    async with p2pdo.local(nodes=8, topology="ring") as net:
        run = await net.submit("gradient-tracking", "breast-cancer", rounds=500)
        async for metric in run.metrics(every=100):
            print(metric.iteration, metric.gap)
        result = await run.result()

Leaving the block ends what still runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.api import participants
from p2pdo.api.executors import check_executable
from p2pdo.api.jobs import Job, resolve
from p2pdo.api.local_nodes import Executors
from p2pdo.api.order import check_submit_order
from p2pdo.api.participants import ParticipantRun
from p2pdo.api.preflight import look_before
from p2pdo.api.requests import Request
from p2pdo.api.runs import Observe, Run, check_executor, check_processes
from p2pdo.api.serving import Serving
from p2pdo.api.timelines import TimelineFile, check_timeline
from p2pdo.data import encode
from p2pdo.driving.tasks import SITE, Tasks
from p2pdo.errors import ConfigError
from p2pdo.node.configuration.offering import offers_of
from p2pdo.node.configuration.reading import read_configuration
from p2pdo.node.offers import Offers
from p2pdo.participants.definition import Participant
from p2pdo.protocol.tasks import workload_id_of
from p2pdo.reporting.run_folder import RunFolder
from p2pdo.types import Plain


class LocalNetwork:
    """N nodes on this machine; use as an async context manager."""

    def __init__(
        self,
        nodes: int = 8,
        topology: Any = "ring",
        weights: str | None = None,
        *,
        on: str = "inprocess",
        config: Path | str | None = None,
        executors: Executors | None = None,
        state: Path | str | None = None,
    ) -> None:
        self._nodes = nodes
        self._topology = topology
        self._weights = weights
        self._executor = check_executor(on)
        self._serving = Serving(
            [f"node-{i}" for i in range(nodes)],
            None if config is None else Path(config),
            dict(executors or {}),
            processes=self._executor == "processes",
        )
        self._config = None if config is None else Path(config)
        self._state = None if state is None else Path(state).resolve()
        self._runs: list[Run | ParticipantRun] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._temporary: list[Path] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._serving.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for run in self._runs:
            run.close()
        for path in self._temporary:
            shutil.rmtree(path, ignore_errors=True)
        self._serving.check()  # what ended the nodes is why the block failed, if it did

    @contextlib.asynccontextmanager
    async def driver(
        self,
        nodes: Sequence[str] | None = None,
        *,
        executor: str = SITE,
        roles: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> AsyncIterator[Tasks]:
        """Sends tasks to this network's nodes, "node-0" on, by a coordinator of their own.

        They are started at the first use, with the configuration and the executors that the
        network was made with, and end with it.
        """
        client = await self._serving.client()
        async with Tasks(client, nodes, executor=executor, roles=roles) as tasks:
            with self._serving.driven_by(tasks):
                yield tasks

    async def submit(
        self,
        algorithm: str | AnyAlgorithm | Participant,
        problems: str | Sequence[Any] | None = None,
        *,
        parameters: Mapping[str, Plain] | None = None,
        out: Path | str | None = None,
        observe: Observe | None = None,
        timeline: Path | str | None = None,
        force: bool = False,
        **settings: Any,
    ) -> Run | ParticipantRun:
        """Resolves and starts a run.

        A participant has no problem: `submit(train, rounds=100, parameters={…})`, with the
        settings of `api.participants.Request`: rounds, observe_every, seed, record, checkpoints.
        One of the network's configuration is given by its name there.

        `problems` is a catalogue name, "file.py:object", or one problem a node. Further
        `settings` are the fields of `api.requests.Request`: rounds, tol, seed, observe_every,
        start, partition, dtype. With `out` the run folder is kept there.

        `observe(iteration, states)` is called at each observed iteration, in order, with every
        node's x in node order; the states are read-only and may be kept. The run waits for it,
        so that figures of one's own, as test accuracy, are of exactly these states.

        `timeline` is a file for where the time goes, in the format of chrome://tracing and
        Perfetto; of nodes in processes or in one loop.

        A run that cannot converge (`api.preflight`) is refused, or warned of in its folder where
        it is forced.

        Raises:
            ConfigError: something is unknown or does not fit; nothing was started.
        """
        site = self._offers()
        if problems is None and isinstance(algorithm, str):
            found = site.participants.get(algorithm)
            algorithm = found if isinstance(found, Participant) else algorithm
        if isinstance(algorithm, Participant):
            if problems is not None:
                raise ConfigError(
                    f"the participant {algorithm.name} was given problems too",
                    hint="a participant brings its data itself: submit(train, rounds=100)",
                )
            if timeline is not None:
                raise ConfigError(
                    "a participant has no timeline: its code is not divided into steps",
                    hint="leave timeline out, or use a profiler in the participant",
                )
            asked = participants.Request(algorithm, parameters or {}, **settings)
            return self.start_participant(asked, out=out)
        check_submit_order(algorithm, problems)
        if problems is None:
            raise ConfigError(
                "an algorithm was submitted without problems",
                hint="submit(algorithm, problems), or submit a @p2pdo.participant",
            )
        job = resolve(
            Request(
                problem=problems,
                algorithm=algorithm,
                parameters=parameters or {},
                nodes=self._nodes,
                topology=self._topology,
                weights=self._weights,
                **settings,
            ),
            site,
        )
        job = look_before(job, force=force)
        return self.start(job, out=out, observe=observe, timeline=timeline)

    def start_participant(
        self,
        asked: participants.Request,
        *,
        out: Path | str | None = None,
        keep: bool = False,
    ) -> ParticipantRun:
        """Resolves and starts a participant's run; its folder stays as with `start`.

        Raises:
            ConfigError: something does not fit; nothing was started.
            Conflict: there are files in the folder already.
        """
        encode.refuse_while_importing()
        job = participants.resolve(
            asked,
            nodes=self._nodes,
            topology=self._topology,
            weights=self._weights,
            executor=self._executor,
            state=self._state,
            site=self._offers(),
        )
        if self._executor == "processes":
            check_processes(job.nodes)
        request_id = uuid.uuid4().hex
        folder = self._make_folder(out, workload_id_of(request_id), keep=keep)
        run = ParticipantRun(job, request_id, folder)
        run.is_temporary = out is None and not keep
        folder.write_settings(job.settings())
        self._runs.append(run)
        self._tasks.append(asyncio.create_task(run.work(), name=f"run {run.workload_id}"))
        return run

    def start(
        self,
        job: Job,
        *,
        out: Path | str | None = None,
        keep: bool = False,
        observe: Observe | None = None,
        timeline: Path | str | None = None,
        draw: bool = True,
    ) -> Run:
        """Starts what `api.jobs.resolve` made.

        The run folder stays at `out`, or with `keep` at runs/ID; with `draw` it has pictures.

        Raises:
            ConfigError: a script is being imported; or too many processes for this machine, or a
                class that cannot cross to them; or no timeline can be kept or written.
            Conflict: there are files in the folder already.
        """
        encode.refuse_while_importing()
        check_executable(job, self._executor, has_timeline=timeline is not None)
        if timeline is not None:
            check_timeline(Path(timeline), self._executor)
        request_id = uuid.uuid4().hex
        workload_id = workload_id_of(request_id)
        folder = self._make_folder(out, workload_id, keep=keep)
        folder.write_settings({**job.settings(), "executor": self._executor})
        run = Run(job, self._executor, workload_id, request_id, folder)
        run.observe = observe
        if timeline is not None:
            names = [job.plan.name(i) for i in range(job.plan.nodes)]
            run.timeline = TimelineFile(Path(timeline), names, {"workload": workload_id})
        run.is_temporary = out is None and not keep
        run.is_drawn = draw and not run.is_temporary
        self._runs.append(run)
        self._tasks.append(asyncio.create_task(run.work(), name=f"run {workload_id}"))
        return run

    def _offers(self) -> Offers:
        """What the network's configuration lets runs have, and its own parameters for them.

        Raises:
            ConfigError: the file is wrong.
        """
        if self._config is None:
            return Offers()
        return offers_of(read_configuration(self._config))

    def _make_folder(self, out: Path | str | None, workload_id: str, *, keep: bool) -> RunFolder:
        if out is not None or keep:
            return RunFolder.create(None if out is None else Path(out), workload_id)
        path = Path(tempfile.mkdtemp(prefix="p2pdo-"))
        self._temporary.append(path)
        return RunFolder.create(path, workload_id)


def local(
    nodes: int = 8,
    topology: Any = "ring",
    weights: str | None = None,
    *,
    processes: bool = False,
    on: str | None = None,
    config: Path | str | None = None,
    executors: Executors | None = None,
    state: Path | str | None = None,
) -> LocalNetwork:
    """N nodes on this machine, in one loop, or with `processes` as real daemons.

    `topology` is a name, plain data as in a topology file, a networkx graph or a `Graph`. `on`
    names any executor: dense, stacked, simulated, inprocess, processes.

    `state` is a folder in which each node has one of its own, for participants' checkpoints and
    histories; without it these are in the run folder. `config` is a node's configuration file, here
    of all nodes, and `executors` are further ones by name, classes or functions without arguments.
    Runs have the file's problems, participants, [allow] and the parameters of its [workloads]; its
    executors, components, filters and handlers are for tasks, see `LocalNetwork.driver`.
    """
    return LocalNetwork(
        nodes,
        topology,
        weights,
        on=on or ("processes" if processes else "inprocess"),
        config=config,
        executors=executors,
        state=state,
    )
