"""Assignment: what each node is told about a run, and no more.

A node learns its index, its neighbours' names and addresses, and its own row of the mixing
matrix. So the work and the bytes are O(edges) for the whole network, never O(nodes²). The digest
of the topology is equal on all nodes: peers compare it before the first value flows.

`resolve_graph` is the one place where a topology's and weights' names become a checked graph;
every executor calls it, so the same specification is the same network everywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from p2pdo.algorithms import catalogue
from p2pdo.algorithms.base import CostBounds, Method, Requires
from p2pdo.errors import ConfigError
from p2pdo.graphs import files, topologies, weights as mixing
from p2pdo.graphs.distances import hops
from p2pdo.graphs.graph import Graph
from p2pdo.graphs.weights import Weights
from p2pdo.types import NodeId, Plain

GRAPH_STREAM = 6  # no other generator is made from (seed, 6)

SETTINGS = (
    "problem",
    "algorithm",
    "partition",
    "seed",
    "dtype",
    "start",
    "rounds",
    "observe_every",
    "record",
    "observer",
    "lane",
    "codec",
    "return_states",
    "tol",
    "settle",
    "timeline",
    "max_staleness",
    "monitor",
)
"""What every node is told of the specification as it stands."""

PARTICIPANT_SETTINGS = (
    *("participant", "rounds", "observe_every", "seed", "record", "checkpoints"),
    "lane",
)
"""The same for a participant."""


@dataclass(frozen=True, slots=True)
class Member:
    """A node of a workload: its name and where its neighbours dial it."""

    name: NodeId
    address: str


def resolve_graph(
    topology: Plain, weights: str | None, n: int, seed: int, requires: Requires | None
) -> tuple[Graph, Weights, str]:
    """The graph over n nodes, its weights, and what to call it.

    Random graphs are a function of the seed. `requires` is what the algorithm needs; None for an
    algorithm that is not known here: the graph must be connected and the rows sum to one.

    Raises:
        ConfigError: no such graph or weights, not (strongly) connected, or not what the
            algorithm requires.
    """
    graph, given = make_graph(topology, n, seed)
    label = topology if isinstance(topology, str) else "custom"
    if given is not None and weights is not None:
        raise ConfigError(
            f"weights are given twice: by the topology and as '{weights}'",
            hint="leave --weights out, or give the topology as edges",
        )
    if given is None:
        given = mixing.default(graph) if weights is None else mixing.by_name(weights, graph, seed)
    needs = requires or Requires()
    mixing.check_weights(
        given,
        graph,
        mixing.Stochastic(int(needs.weights)),
        symmetric=needs.symmetric,
        undirected=needs.undirected,
        time_varying=needs.time_varying,
    )
    return graph, given, label


def make_graph(topology: Plain, n: int, seed: int) -> tuple[Graph, Weights | None]:
    """The graph of that name or data over n nodes, and the weights if the data have any."""
    if isinstance(topology, str):
        rng = np.random.default_rng([seed, GRAPH_STREAM])
        graph = topologies.by_name(topology, n, rng)
        own = topologies.TOPOLOGIES[topology.partition(":")[0]].weights
        return graph, None if own is None else own(n)
    return files.parse(topology, n)


def topology_digest(weights: Weights, names: Sequence[str]) -> str:
    """Names the network: who is who, who hears whom, with which weight."""
    content = hashlib.sha256(weights.digest())
    for name in names:
        content.update(b"\0" + name.encode())
    return content.hexdigest()


def config_payloads(
    members: Sequence[Member],
    graph: Graph,
    weights: Weights,
    spec: Mapping[str, Plain],
    settings: Sequence[str] = SETTINGS,
) -> list[dict[str, Plain]]:
    """What each member is told in its `config` task, in index order.

    `spec` is the specification as plain data; `settings` of it are passed on as they are.
    """
    common: dict[str, Plain] = {key: spec[key] for key in settings}
    common["nodes"] = len(members)
    if common.get("settle") is not None:
        common["hops"] = hops(graph)
    common["digest"] = topology_digest(weights, [member.name for member in members])
    payloads: list[dict[str, Plain]] = []
    for index, member in enumerate(members):
        hears, tells = graph.in_neighbors(index), graph.out_neighbors(index)
        row = weights.row(index)
        neighbors: dict[str, Plain] = {
            str(j): {"name": members[j].name, "address": members[j].address}
            for j in sorted({*hears, *tells})
        }
        payloads.append(
            {
                **common,
                "index": index,
                "name": member.name,
                "neighbors": neighbors,
                "in_neighbors": list(hears),
                "out_neighbors": list(tells),
                "row": [[j, weight] for j, weight in row.entries],
                "varying": row.to_plain(),
            }
        )
    return payloads


def resolved_parameters(
    algorithm: type[Method],
    parameters: Mapping[str, Plain],
    smoothness: float | None,
    share: float = 1.0,
    bounds: CostBounds | None = None,
) -> dict[str, Plain]:
    """Every parameter of the algorithm with its value, the defaults and the step size included.

    Raises:
        ConfigError: a parameter is unknown or out of range, or comes from constants of the costs
            that they do not tell.
    """
    parameters = {**catalogue.told_by_costs(algorithm, parameters, bounds), **parameters}
    built = catalogue.build(algorithm, parameters, smoothness, share)
    return {f.name: getattr(built, f.name) for f in fields(algorithm) if f.init}  # type: ignore[arg-type]
