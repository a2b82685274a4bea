"""From what a user asks to a plan that can run: everything is looked up and checked here, once.

A `Request` holds names, objects or files as the user gave them. `resolve` turns it into a `Job`:
a plan with real problems, a checked graph, weights that satisfy the algorithm, a step size, and
the labels under which all of it is reported. The look-ups themselves are in `api.resolving`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from p2pdo.algorithms.base import CONSENSUS, Algorithm
from p2pdo.api.parameters import parameters_of, split_parameters
from p2pdo.api.requests import Request, check_request, names_recorded
from p2pdo.api.resolving.algorithms import algorithm_class, algorithm_for
from p2pdo.api.resolving.held_out import held_out_for
from p2pdo.api.resolving.networks import network_for
from p2pdo.api.resolving.plans import plan_for
from p2pdo.api.resolving.problems import problems_for, require_oracles
from p2pdo.api.resolving.starts import starts_for
from p2pdo.api.simulating import links_for
from p2pdo.api.topology_files import read_topology
from p2pdo.errors import ConfigError
from p2pdo.node.offers import EVERYTHING, Offers
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.coding import coding_of, lazier, require_codable, settle
from p2pdo.protocol.drops import Drops
from p2pdo.protocol.judging import Objective
from p2pdo.protocol.plan import Plan, dtype_of
from p2pdo.runtime.compute import limit_blas_threads
from p2pdo.simulation.links.reading import Links
from p2pdo.types import Plain

MOST_DRAWN = 1000


@dataclass(frozen=True, eq=False)
class Job:
    """A request, resolved: what runs, and what it is called.

    Attributes:
        rate: what its pre-flight predicted; None where nobody looked, or could tell.
        warnings: what its pre-flight warned of, and who started it let pass.
    """

    plan: Plan
    objective: Objective
    request: Request
    problem: str
    algorithm: str
    topology: str
    rate: float | None = None
    warnings: tuple[str, ...] = ()
    links: Links | None = None

    def topology_data(self) -> Plain:
        """As it was asked for; the arcs of a graph that was given as an object."""
        asked = self.request.topology
        if isinstance(asked, str | dict | list):
            return asked
        graph = self.plan.graph
        edges: list[Plain] = [list(arc) for arc in graph.edges.tolist()]
        return {"edges": edges, "directed": graph.directed, "nodes": graph.n}

    def settings(self) -> dict[str, Plain]:
        """Every setting with the value it resolved to, for the run folder."""
        request = self.request
        return {
            "problem": self.problem,
            "algorithm": self.algorithm,
            "parameters": dict(parameters_of(self.plan.algorithm)),
            "nodes": self.plan.nodes,
            "topology": self.topology,
            "graph": self.topology_data() if self._keeps_graph() else None,
            "weights": request.weights or "default",
            "rounds": request.rounds,
            "tol": request.tol,
            "observe_every": request.observe_every,
            "start": request.start if isinstance(request.start, str | None) else "given",
            "seed": request.seed,
            "partition": request.partition,
            "test": request.test if isinstance(request.test, str | None) else "given",
            "dtype": request.dtype,
            "record": list(self.record),
            "lane": request.lane,
            "codec": self.plan.codec,
            "settle": request.settle,
            "monitor": request.monitor,
            **({"warnings": list(self.warnings)} if self.warnings else {}),
            "drop": asdict(drop) if isinstance(drop := request.drop, Drops) else drop,
            "links": _shown(request.links),
            "link_delay": request.link_delay,
            "link_loss": request.link_loss,
            "compute": request.compute,
            "delay_seed": request.delay_seed,
            **self._asynchrony(),
        }

    def _keeps_graph(self) -> bool:
        """Whether the settings spell the graph: one without a name, of a size that is drawn."""
        return not isinstance(self.request.topology, str) and self.plan.nodes <= MOST_DRAWN

    def _asynchrony(self) -> dict[str, Plain]:
        """Those of asynchronous algorithms; of others none."""
        if not isinstance(self.plan, AsynchronousPlan):
            return {}
        return asdict(self.plan.asynchrony)

    @property
    def record(self) -> tuple[str, ...]:
        """What the nodes keep a history of."""
        return names_recorded(self.request.record)


def resolve(request: Request, site: Offers = EVERYTHING) -> Job:
    """Looks everything up and checks it; `site` has problems and parameters of its own.

    Raises:
        ConfigError: something is unknown, malformed, or does not fit the rest.
    """
    limit_blas_threads()  # F* and the gap are judged with it, so they too must have equal bits
    check_request(request)
    request = replace(request, topology=read_topology(request.topology))
    own, of_problem = split_parameters(request.parameters)
    problems, problem_label = problems_for(request, of_problem, site)
    dtype = request.dtype or dtype_of(problems[0])
    request = replace(request, nodes=len(problems), dtype=dtype)
    cls, algorithm_label = algorithm_class(request.algorithm)
    site.require_allowed("algorithms", algorithm_label)
    require_oracles(problems, cls)
    graph, weights, topology_label = network_for(request, cls)
    own, codec = settle(cls, own, request.codec)
    asked = request.algorithm
    if isinstance(asked, Algorithm) and codec != request.codec:
        asked, own = replace(asked, **own), {}  # type: ignore[type-var]
    coding = coding_of(codec)
    if coding is not None:
        require_codable(cls, weights)
    mixes = weights if coding is None else lazier(weights, coding.step)
    algorithm = algorithm_for(asked, cls, own, problems, mixes)
    starts = starts_for(request, algorithm_label, problems, dtype)
    plan = plan_for(request, algorithm, problems, (graph, weights), starts, coding=coding)
    test = held_out_for(request, of_problem, problems, site)
    objective = Objective(problems, test, is_sought=cls.limit not in CONSENSUS)
    if request.tol is not None and not objective.tells_when_to_stop:
        raise ConfigError(
            "a tolerance needs a problem whose optimum is known: its class has no minimiser",
            hint="give the class a minimiser(problems), or use --rounds alone",
        )
    links = links_for(request, graph)
    labels = problem_label, algorithm_label, topology_label
    job = Job(plan, objective, request, *labels, links=links)
    for name in job.record:
        if name != "x":
            raise ConfigError(
                f"'{name}' cannot be recorded of an algorithm",
                hint="--record x, the decision variable; a participant records what it likes",
            )
    return job


def with_tolerance(job: Job, tol: float) -> Job:
    """The job with this tolerance, where it can be told that it is reached; else as it is."""
    if not job.objective.tells_when_to_stop:
        return job
    plan, request = replace(job.plan, tol=tol), replace(job.request, tol=tol)
    return replace(job, plan=plan, request=request)


def _shown(links: Path | str | Mapping[str, Any] | None) -> Plain:
    """A file by its name, what was given by itself."""
    if isinstance(links, Mapping):
        return dict(links)
    return None if links is None else str(links)
