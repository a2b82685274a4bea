"""The graph that the nodes form, and weights on it that the algorithm takes."""

from __future__ import annotations

from p2pdo.algorithms.base import Method
from p2pdo.api.requests import Request
from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph, from_networkx
from p2pdo.graphs.weights import Weights, by_name, check_weights, default
from p2pdo.protocol.assignment import resolve_graph


def network_for(request: Request, algorithm: type[Method]) -> tuple[Graph, Weights, str]:
    """Graph, weights, and what the graph is called."""
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
