"""The networks on which laws are held: the shapes in which methods have failed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from p2pdo.algorithms.base import Method, Stochastic
from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph, from_edges
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import Weights, check_weights, default
from p2pdo.testing.outcomes import hold, skip

UNBALANCED = "unbalanced"


@dataclass(frozen=True)
class Network:
    """A graph by name, with its default weights."""

    topology: str
    n: int

    def __str__(self) -> str:
        return f"{self.topology}-{self.n}"

    @property
    def graph(self) -> Graph:
        if self.topology == UNBALANCED:  # a directed ring with chords from node 0 and to node 1
            ring = [(i, (i + 1) % self.n) for i in range(self.n)]
            return from_edges(self.n, [*ring, (0, 2), (0, 3), (3, 1)], directed=True)
        return by_name(self.topology, self.n, np.random.default_rng(0))

    @property
    def weights(self) -> Weights:
        return default(self.graph)


NETWORKS = (
    Network("ring", 6),
    Network("directed-ring", 5),
    Network(UNBALANCED, 5),
    Network("star", 5),
    Network("complete", 4),
    Network("ring", 1),
    Network("ring", 2),
)


def networks_for(algorithm: Method) -> list[Network]:
    """Those of `NETWORKS` that the algorithm claims to work on."""
    return [network for network in NETWORKS if refusal(algorithm, network) is None]


def refusal(algorithm: Method, network: Network) -> ConfigError | None:
    """Why a run of the algorithm on this network is refused."""
    needs = algorithm.requires
    try:
        check_weights(
            network.weights,
            network.graph,
            Stochastic(int(needs.weights)),
            symmetric=needs.symmetric,
            undirected=needs.undirected,
            time_varying=needs.time_varying,
        )
    except ConfigError as error:
        return error
    return None


def require_remedies(algorithm: Method) -> None:
    """Each of `NETWORKS` that it refuses is refused with what to do instead."""
    refusals = [(network, refusal(algorithm, network)) for network in NETWORKS]
    refused = [(network, error) for network, error in refusals if error is not None]
    if not refused:
        skip("it refuses no network")
    for network, error in refused:
        hold(bool(error.hint), f"{network} is refused without a remedy")
