"""Graphs, mixing weights and what their spectrum predicts. Pure and sparse; no I/O.

Within the package `topologies.by_name` and `weights.by_name` are the two tables; here they carry
the noun, as `graph_by_name` and `weights_by_name`.
"""

from p2pdo.graphs.files import parse as parse_graph
from p2pdo.graphs.graph import (
    Graph,
    from_edges,
    from_matrix as graph_from_matrix,
    from_networkx,
)
from p2pdo.graphs.rules import WEIGHTS
from p2pdo.graphs.spectral import Spectrum, modes, spectrum
from p2pdo.graphs.topologies import (
    TOPOLOGIES,
    barbell,
    by_name as graph_by_name,
    complete,
    directed_ring,
    erdos_renyi,
    exponential,
    geometric,
    grid,
    hierarchical,
    hypercube,
    k_regular,
    path,
    ring,
    small_world,
    star,
    torus,
    tree,
)
from p2pdo.graphs.weights import (
    Stochastic,
    Weights,
    by_name as weights_by_name,
    check_weights,
    default as default_weights,
    from_matrix as weights_from_matrix,
    is_symmetric,
    metropolis,
    push as push_weights,
    stochastic,
    uniform,
)

__all__ = [
    "TOPOLOGIES",
    "WEIGHTS",
    "Graph",
    "Spectrum",
    "Stochastic",
    "Weights",
    "barbell",
    "check_weights",
    "complete",
    "default_weights",
    "directed_ring",
    "erdos_renyi",
    "exponential",
    "from_edges",
    "from_networkx",
    "geometric",
    "graph_by_name",
    "graph_from_matrix",
    "grid",
    "hierarchical",
    "hypercube",
    "is_symmetric",
    "k_regular",
    "metropolis",
    "modes",
    "parse_graph",
    "path",
    "push_weights",
    "ring",
    "small_world",
    "spectrum",
    "star",
    "stochastic",
    "torus",
    "tree",
    "uniform",
    "weights_by_name",
    "weights_from_matrix",
]
