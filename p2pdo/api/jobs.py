"""From what a user asks to a plan that can run: everything is looked up and checked here, once.

A `Request` holds names, objects or files as the user gave them. `resolve` turns it into a `Job`:
a plan with real problems, a checked graph, weights that satisfy the algorithm, a step size, and
the labels under which all of it is reported.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from p2pdo.algorithms import catalogue as algorithms
from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.base import Algorithm, Method
from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.api.asynchrony import asynchrony_of, require_synchrony
from p2pdo.api.drops import read_drops, require_policy
from p2pdo.api.simulating import links_for
from p2pdo.api.topology_files import read_topology
from p2pdo.data import catalogue as problem_catalogue, encode
from p2pdo.effects import freeze
from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.graphs.distances import hops
from p2pdo.graphs.graph import Graph, from_networkx
from p2pdo.graphs.spectral import modes
from p2pdo.graphs.weights import Weights, by_name, check_weights, default
from p2pdo.participants.definition import Participant
from p2pdo.problems.many import Many
from p2pdo.protocol.assignment import resolve_graph
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan, Asynchrony
from p2pdo.protocol.coding import NONE, Coding, coding_of, lazier, require_codable, settle
from p2pdo.protocol.drops import Drops
from p2pdo.protocol.judging import Objective
from p2pdo.protocol.plan import STARTS, Plan, dtype_of, make_starts, start_at, start_of
from p2pdo.protocol.settling import Settle, require_settle
from p2pdo.runtime.compute import limit_blas_threads
from p2pdo.simulation.links.reading import Links
from p2pdo.types import Array, Plain, States

PROBLEM_PREFIX = "problem."
MOST_DRAWN = 1000
MOST_NODES = 100_000
MOST_STACKED = 5_000_000
"""The same where a node is a row of an array and no object."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run as it was asked for.

    Attributes:
        problem: a catalogue name, "file.py:object", or the nodes' problems in node order.
        algorithm: a catalogue name, "file.py:Class", or an algorithm object.
        parameters: the algorithm's by name, and the problem's with the prefix "problem.".
        topology: a name, a file (see `api.topology_files`) or its content, a matrix of NumPy or
            SciPy, a networkx graph or a `Graph`.
        weights: a name; None takes the graph's default.
        start: "zeros", "normal", "uniform", an array of shape (d,) or (N, d), or a file of one.
        record: "x": each node keeps a history of it at observed iterations.
        dtype: "float64" or "float32"; None is what the problems compute in, mostly float64.
        delay_seed: of the weather of a simulated network; the result does not depend on it.
        drop: values that never arrive, see `api.drops`; of algorithms that go on without.
        links, link_loss, compute: of a simulated network, see `api.simulating`.
        lane: how values go between node processes: "auto", "grpc" or "shared-memory".
        codec: of what is mixed, NAME[:NUMBER][,step=γ], see `p2pdo.codecs`; a method that
            compresses by itself takes it as its compressor.
        settle: stop where no node's x moves by more than this, as the nodes find out themselves.
        monitor: how often what the method keeps is looked at: at "every" iteration, at "observed"
            ones, "off"; "auto" is at every one where the network is simulated, else at observed.
        asynchrony: of asynchronous algorithms: how far nodes drift apart, and a simulated weather.
    """

    problem: str | Sequence[Any]
    algorithm: str | AnyAlgorithm = "gradient-tracking"
    parameters: Mapping[str, Plain] = field(default_factory=dict)
    nodes: int = 8
    topology: Any = "ring"
    weights: str | None = None
    rounds: int = 1000
    tol: float | None = None
    observe_every: int = 50
    start: str | Array | None = None
    seed: int = 0
    partition: str = "iid"
    dtype: str | None = None
    delay_seed: int = 0
    drop: float | str | Drops | None = None
    links: Path | str | Mapping[str, Any] | None = None
    link_loss: float | None = None
    compute: float | str | None = None
    record: str | Sequence[str] = ()
    lane: str = "auto"
    codec: str = NONE
    settle: float | None = None
    monitor: str = "auto"
    asynchrony: Asynchrony = field(default_factory=Asynchrony)


MONITORS = ("auto", "every", "observed", "off")
LANES = ("auto", "grpc", "shared-memory")


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
            "dtype": request.dtype,
            "record": list(self.record),
            "lane": request.lane,
            "codec": self.plan.codec,
            "settle": request.settle,
            "monitor": request.monitor,
            **({"warnings": list(self.warnings)} if self.warnings else {}),
            "drop": asdict(drop) if isinstance(drop := request.drop, Drops) else drop,
            "links": _shown(request.links),
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
        return {f.name: getattr(self.plan.asynchrony, f.name) for f in fields(Asynchrony)}

    @property
    def record(self) -> tuple[str, ...]:
        """What the nodes keep a history of."""
        asked = self.request.record
        return (asked,) if isinstance(asked, str) else tuple(asked)


def parameters_of(algorithm: AnyAlgorithm) -> dict[str, Plain]:
    """By name; numbers of NumPy, PyTorch and JAX are Python's."""
    given = {f.name: getattr(algorithm, f.name) for f in fields(algorithm) if f.init}  # type: ignore[arg-type]
    return {name: value.item() if _is_scalar(value) else value for name, value in given.items()}


def _is_scalar(value: Any) -> bool:
    return getattr(value, "shape", None) == () and hasattr(value, "item")


def resolve(request: Request) -> Job:
    """Looks everything up and checks it.

    Raises:
        ConfigError: something is unknown, malformed, or does not fit the rest.
    """
    limit_blas_threads()  # F* and the gap are judged with it, so they too must have equal bits
    _check_limits(request)
    request = replace(request, topology=read_topology(request.topology))
    own, of_problem = split_parameters(request.parameters)
    problems, problem_label = _problems(request, of_problem)
    dtype = request.dtype or dtype_of(problems[0])
    request = replace(request, nodes=len(problems), dtype=dtype)
    cls, algorithm_label = _algorithm_class(request.algorithm)
    graph, weights, topology_label = _graph(request, cls)
    own, codec = settle(cls, own, request.codec)
    asked = request.algorithm
    if isinstance(asked, Algorithm) and codec != request.codec:
        asked, own = replace(asked, **own), {}  # type: ignore[type-var]
    coding = coding_of(codec)
    if coding is not None:
        require_codable(cls, weights)
    mixes = weights if coding is None else lazier(weights, coding.step)
    algorithm = _algorithm(asked, cls, own, problems, mixes)
    starts = _starts(request, algorithm_label, problems, dtype)
    plan = _plan(request, algorithm, problems, (graph, weights), starts, coding=coding)
    objective = Objective(problems)
    if request.tol is not None and objective.optimum is None:
        raise ConfigError(
            "a tolerance needs a problem whose optimum is known: its class has no minimiser",
            hint="give the class a minimiser(problems), or use --rounds alone",
        )
    links = links_for(request.links, request.link_loss, request.compute, graph)
    labels = problem_label, algorithm_label, topology_label
    job = Job(plan, objective, request, *labels, links=links)
    for name in job.record:
        if name != "x":
            raise ConfigError(
                f"'{name}' cannot be recorded of an algorithm",
                hint="--record x, the decision variable; a participant records what it likes",
            )
    return job


def _shown(links: Path | str | Mapping[str, Any] | None) -> Plain:
    """A file by its name, what was given by itself."""
    if isinstance(links, Mapping):
        return dict(links)
    return None if links is None else str(links)


def _plan(
    request: Request,
    algorithm: AnyAlgorithm,
    problems: Sequence[Any],
    network: tuple[Graph, Weights],
    starts: States,
    *,
    coding: Coding | None,
) -> Plan:
    where = (problems, *network, starts)
    until = (request.rounds, request.observe_every, request.tol, request.seed)
    if isinstance(algorithm, AsynchronousAlgorithm):
        return AsynchronousPlan(algorithm, *where, *until, asynchrony=asynchrony_of(request))
    require_synchrony(request, algorithms.name_of(type(algorithm)))
    drops = read_drops(request.drop, request.seed)
    if drops is not None:
        require_policy(type(algorithm))
        if request.settle is not None:
            raise ConfigError(
                "nodes find out together where none moves (--settle) from values that all arrive",
                hint="with --drop, stop by --tol or --rounds",
            )
    settling = None if request.settle is None else Settle(request.settle, hops(network[0]))
    codec = NONE if coding is None else str(coding)
    monitor = {"every": 1, "off": None}.get(request.monitor, request.observe_every)
    return Plan(algorithm, *where, *until, settling, drops, codec, monitor)


def with_tolerance(job: Job, tol: float) -> Job:
    """The job with this tolerance, where the optimum is known; else as it is."""
    if job.objective.optimum is None:
        return job
    plan, request = replace(job.plan, tol=tol), replace(job.request, tol=tol)
    return replace(job, plan=plan, request=request)


def split_parameters(
    parameters: Mapping[str, Plain],
) -> tuple[dict[str, Plain], dict[str, Plain]]:
    """The algorithm's parameters and the problem's."""
    own = {k: v for k, v in parameters.items() if not k.startswith(PROBLEM_PREFIX)}
    of_problem = {
        k.removeprefix(PROBLEM_PREFIX): v
        for k, v in parameters.items()
        if k.startswith(PROBLEM_PREFIX)
    }
    return own, of_problem


def check_most(nodes: int, most: int = MOST_NODES) -> None:
    """Refuses a number of nodes that only fills the memory."""
    if nodes > most:
        raise ConfigError(f"{nodes:,} nodes are too many for one machine", hint=f"at most {most:,}")


def _check_limits(request: Request) -> None:
    if request.nodes < 1:
        raise ConfigError(f"nodes must be one or more, got {request.nodes}", hint="--nodes 8")
    check_most(request.nodes, MOST_STACKED)  # the executor may take fewer
    if request.delay_seed < 0:
        raise ConfigError(
            f"the delay seed must be zero or more, got {request.delay_seed}", hint="--delay-seed 0"
        )
    if request.rounds < 0:
        raise ConfigError(f"rounds must be zero or more, got {request.rounds}", hint="--rounds 100")
    if request.lane not in LANES:
        raise ConfigError(
            f"unknown lane '{request.lane}'", hint=did_you_mean(request.lane, list(LANES))
        )
    if request.observe_every < 1:
        raise ConfigError(
            f"observe_every must be one or more, got {request.observe_every}",
            hint="--observe-every 50",
        )
    if request.seed < 0:
        raise ConfigError(f"the seed must be zero or more, got {request.seed}", hint="--seed 0")
    if request.monitor not in MONITORS:
        raise ConfigError(
            f"unknown monitor '{request.monitor}'", hint=did_you_mean(request.monitor, [*MONITORS])
        )
    if request.settle is not None:
        require_settle(request.settle)
    if request.tol is not None and not (np.isfinite(request.tol) and request.tol > 0):
        raise ConfigError(f"the tolerance must be positive, got {request.tol}", hint="--tol 1e-8")


# ---- problems ----


def _problems(request: Request, parameters: Mapping[str, Plain]) -> tuple[Sequence[Any], str]:
    problem = request.problem
    if not isinstance(problem, str):
        return _given(list(problem), request, "given problems")
    if problem.endswith(".py"):
        raise ConfigError(
            f"{problem} names a file, not what in it is the problem",
            hint=f"{problem}:NAME, a list of problems, a factory of them, or a participant",
        )
    if problem in problem_catalogue.PROBLEMS or ":" not in problem:
        built = problem_catalogue.build_all(
            problem,
            request.nodes,
            request.partition,
            request.seed,
            dtype=request.dtype or "float64",
            parameters=parameters,
        )
        return built, problem
    return _from_file(problem, request, parameters)


def _from_file(
    where: str, request: Request, parameters: Mapping[str, Plain]
) -> tuple[list[Any], str]:
    """A list of problems, one a node, or a factory of them."""
    found = encode.load_object(where)
    if isinstance(found, Participant):
        raise ConfigError(
            f"{where} is a participant, not a problem",
            hint=f"p2pdo run {where} --rounds 100, or net.submit({found.name}, rounds=100)",
        )
    if callable(found):
        return _given(_made(found, where, request, parameters), request, where)
    if isinstance(found, Sequence):
        return _given(list(found), request, where)
    raise ConfigError(
        f"{where} is {type(found).__name__}, neither a list of problems nor a factory",
        hint="make it a function (node_index, nodes, partition, seed, **parameters) -> problem, "
        "or a @p2pdo.participant",
    )


def participant_at(where: str) -> Participant | None:
    """What stands at "file.py:name" or "module:name", if it is a participant.

    Raises:
        ConfigError: there is no such file, module or name, or its import fails.
    """
    if where in problem_catalogue.PROBLEMS or ":" not in where:
        return None
    found = encode.load_object(where)
    return found if isinstance(found, Participant) else None


def _made(
    factory: Callable[..., Any], where: str, request: Request, parameters: Mapping[str, Plain]
) -> list[Any]:
    try:
        return [
            factory(i, request.nodes, request.partition, request.seed, **parameters)
            for i in range(request.nodes)
        ]
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{where} failed: {type(error).__name__}: {error}", hint=_factory_remedy(error)
        ) from error


def _factory_remedy(error: Exception) -> str:
    """A call that does not fit fails here; anything else fails further in, at a line of its own."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename == __file__:
        return (
            "it is called as factory(node_index, nodes, partition, seed, **parameters); "
            "a training loop needs @p2pdo.participant above it"
        )
    return f"it was raised in {last.filename}, line {last.lineno}"


def _given(problems: list[Any], request: Request, label: str) -> tuple[list[Any], str]:
    if not problems:
        raise ConfigError(f"{label} is empty", hint="give one problem a node")
    if len(problems) != request.nodes:
        raise ConfigError(
            f"{label}: {len(problems)} problems for {request.nodes} nodes",
            hint=f"give one a node, or --nodes {len(problems)}",
        )
    dimensions = [getattr(p, "dimension", None) for p in problems]
    for node, dimension in enumerate(dimensions):
        if not isinstance(dimension, int | np.integer) or dimension < 1:
            raise ConfigError(
                f"the problem of node {node} ({type(problems[node]).__name__}) tells no dimension",
                hint="give it a property dimension: the length of x",
                node=f"node-{node}",
            )
        if dimension != dimensions[0]:
            raise ConfigError(
                f"node 0's problem has dimension {dimensions[0]}, node {node}'s {dimension}",
                hint="all nodes decide on the same x",
                node=f"node-{node}",
            )
    return problems, label


# ---- algorithm ----


def _algorithm_class(asked: str | AnyAlgorithm) -> tuple[type[AnyAlgorithm], str]:
    if isinstance(asked, type):
        raise ConfigError(
            f"{asked.__name__} is a class; a run takes an object of it",
            hint=f"{asked.__name__}(…), with its parameters",
        )
    if isinstance(asked, Algorithm | AsynchronousAlgorithm):
        cls: type[AnyAlgorithm] = type(asked)
    else:
        cls = encode.load(asked) if ":" in asked else algorithms.find(asked)
        if not issubclass(cls, Algorithm | AsynchronousAlgorithm):
            raise ConfigError(
                f"{asked} is no algorithm", hint="derive it from p2pdo.algorithms.Algorithm"
            )
    if not hasattr(cls, "__dataclass_fields__"):
        raise ConfigError(
            f"{cls.__name__} is no dataclass: its parameters have no names",
            hint="write @dataclass(frozen=True) above it; its fields are its parameters",
        )
    return cls, algorithms.name_of(cls)


def _algorithm(
    asked: str | AnyAlgorithm,
    cls: type[AnyAlgorithm],
    parameters: Mapping[str, Plain],
    problems: Sequence[Any],
    weights: Weights,
) -> AnyAlgorithm:
    if isinstance(asked, str):
        parameters = {**algorithms.told_by_network(cls, parameters, weights), **parameters}
        if not algorithms.needs_smoothness(cls, parameters):
            return algorithms.build(cls, parameters)
        some = problems[:1] if isinstance(problems, Many) else problems  # those are of one kind
        are_quadratic = all(getattr(p, "is_quadratic", True) for p in some)
        return algorithms.build(
            cls,
            parameters,
            _smoothness(problems),
            cls.safe_share(modes(weights)) if are_quadratic else 1.0,
        )
    if parameters:
        raise ConfigError(
            f"parameters {', '.join(parameters)} are given beside an algorithm object",
            hint="give them to the object itself",
        )
    return _with_plain_numbers(asked)


def _with_plain_numbers(algorithm: AnyAlgorithm) -> AnyAlgorithm:
    """The same with Python's numbers for NumPy's, which cannot cross to a process.

    On every executor, so that all compute alike: a NumPy scalar may widen what it meets.
    """
    plain = parameters_of(algorithm)
    odd = {name: number for name, number in plain.items() if _is_scalar(getattr(algorithm, name))}
    return replace(algorithm, **odd) if odd else algorithm  # type: ignore[type-var]


def _smoothness(problems: Sequence[Any]) -> float | None:
    """L = maxᵢ Lᵢ, where all tell theirs."""
    if isinstance(problems, Many):
        return problems.stack.smoothness
    constants = [getattr(p, "smoothness", None) for p in problems]
    known = [float(c) for c in constants if c is not None]
    return max(known) if len(known) == len(constants) else None


# ---- graph ----


def _graph(request: Request, algorithm: type[Method]) -> tuple[Graph, Weights, str]:
    topology = request.topology
    if hasattr(topology, "nodes") and hasattr(topology, "edges") and callable(topology.nodes):
        topology = from_networkx(topology)
    if not isinstance(topology, Graph):
        return resolve_graph(
            topology, request.weights, request.nodes, request.seed, algorithm.requires
        )
    if topology.n != request.nodes:
        raise ConfigError(
            f"the graph has {topology.n} nodes, the problem {request.nodes}",
            hint="give both the same number",
        )
    weights = default(topology)
    if request.weights:
        weights = by_name(request.weights, topology, request.seed)
    needs = algorithm.requires
    check_weights(
        weights,
        topology,
        needs.weights,
        symmetric=needs.symmetric,
        undirected=needs.undirected,
        time_varying=needs.time_varying,
    )
    return topology, weights, "custom"


# ---- starts ----


def _starts(request: Request, algorithm: str, problems: Sequence[Any], dtype: str) -> States:
    d = int(problems[0].dimension)
    start = request.start
    if start is None or (isinstance(start, str) and start in STARTS):
        if isinstance(problems, Many):
            kind = start_of(start, algorithm)
            return make_starts(kind, len(problems), d, request.seed, dtype)
        return [
            start_at(problem, start, algorithm, node=node, seed=request.seed, dtype=dtype)
            for node, problem in enumerate(problems)
        ]
    x = np.asarray(load_start(Path(start)) if isinstance(start, str) else start)
    if x.shape == (d,):
        x = np.broadcast_to(x, (len(problems), d))
    if x.shape != (len(problems), d) or x.dtype.kind not in "fiu" or not np.isfinite(x).all():
        raise ConfigError(
            f"the start is {x.dtype} {x.shape}; expected finite numbers of shape ({d},) "
            f"or ({len(problems)}, {d})",
            hint="or use --start zeros or --start normal",
        )
    if isinstance(problems, Many):
        return freeze(np.array(x, dtype))
    return [freeze(np.array(row, dtype)) for row in x]


def load_start(path: Path) -> Array:
    """The array in a .npy file, or under `x` (or alone) in a .safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        tensors = load_file(path)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(
            f"cannot read the start {path}: {error}",
            hint=f"{', '.join(map(repr, STARTS))}, or a .npy or .safetensors file "
            "of shape (d,) or (N, d)",
        ) from None
    except SafetensorError as error:
        raise ConfigError(
            f"{path} is no safetensors file: {error}", hint="save it with safetensors or np.save"
        ) from None
    if "x" in tensors:
        return np.asarray(tensors["x"])
    if len(tensors) == 1:
        return np.asarray(next(iter(tensors.values())))
    raise ConfigError(
        f"{path} has no array 'x', but {', '.join(sorted(tensors))}", hint="save it under 'x'"
    )
