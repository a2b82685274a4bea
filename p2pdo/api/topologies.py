"""What a topology and its weights are worth: looked up, checked and measured, without a run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from p2pdo.api.limits import MOST_STACKED, check_most
from p2pdo.api.topology_files import read_topology
from p2pdo.errors import ConfigError
from p2pdo.graphs import weights as mixing
from p2pdo.graphs.graph import Graph
from p2pdo.graphs.schedules import Cycle
from p2pdo.graphs.spectral import spectrum
from p2pdo.graphs.weights import Stochastic, Weights, check_weights, is_symmetric, stochastic
from p2pdo.protocol.assignment import make_graph
from p2pdo.reporting import formats
from p2pdo.types import Plain

_SUMS = {
    Stochastic.NONE: "no",
    Stochastic.ROW: "rows",
    Stochastic.COLUMN: "columns",
    Stochastic.DOUBLY: "doubly",
}


@dataclass(frozen=True, kw_only=True)
class TopologyReport:
    """A connected graph with its weights.

    Attributes:
        edges: links of an undirected graph, arcs of a directed one.
        degree: (fewest, most) nodes that a node hears; `sends_to` those that it sends to.
        stochastic: which sums of the weights are one: rows, columns or doubly.
        slem: second largest eigenvalue modulus of `slem_of`: the weights, their mean where they
            are random, or the product of a whole cycle; of this a single iteration's share.
        iterations_to_1e6: mixings until a disagreement is a millionth; None if it never is.
    """

    label: str
    nodes: int
    connected: bool
    directed: bool
    edges: int
    degree: tuple[int, int]
    sends_to: tuple[int, int]
    symmetric: bool
    stochastic: str
    slem: float
    slem_of: str
    spectral_gap: float
    iterations_to_1e6: int | None
    graph: Graph = field(repr=False)

    def to_plain(self) -> dict[str, Plain]:
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "graph"}
        plain["degree"], plain["sends_to"] = list(self.degree), list(self.sends_to)
        plain["topology"] = plain.pop("label")
        return plain

    def lines(self) -> list[tuple[str, str]]:
        """Label and figure, for people."""
        hears, sends = _range(self.degree), _range(self.sends_to)
        mixings = self.iterations_to_1e6
        return [
            ("connected", "yes, along the arcs" if self.directed else "yes"),
            ("directed", "yes" if self.directed else "no"),
            ("arcs" if self.directed else "edges", formats.count(self.edges)),
            ("degrees", f"hears {hears}, sends to {sends}" if self.directed else hears),
            ("symmetric", "yes" if self.symmetric else "no"),
            ("stochastic", self.stochastic),
            ("SLEM", f"{self.slem:.6f}  (second largest |eigenvalue| of {self.slem_of})"),
            ("spectral gap", f"{self.spectral_gap:.3g}"),
            ("mixings to 1e-6", "never" if mixings is None else formats.count(mixings)),
        ]

    def draw(self, path: Path) -> None:
        """Draws the graph; needs the extra 'plots'."""
        from p2pdo.reporting.plots import plot_topology

        arcs = [(int(i), int(j)) for i, j in self.graph.edges]
        plot_topology(self.nodes, arcs, directed=self.directed, path=path, title=self.label)


def inspect(topology: Any, nodes: int, weights: str | None, seed: int) -> TopologyReport:
    """The figures of a topology (a name, a JSON file, or its content) and its weights.

    Raises:
        ConfigError: there is no such graph or weights, the graph is not (strongly) connected, or
            neither the rows nor the columns of the weights sum to one.
    """
    check_most(nodes, MOST_STACKED)
    data = read_topology(topology)
    graph, given = make_graph(data, nodes, seed)
    if given is not None and weights is not None:
        raise ConfigError(
            f"weights are given twice: by the topology's matrix and as '{weights}'",
            hint="leave --weights out, or give the topology as edges",
        )
    w = given or (
        mixing.default(graph) if weights is None else mixing.by_name(weights, graph, seed)
    )
    sums = stochastic(w)
    check_weights(w, graph, Stochastic.NONE if sums else Stochastic.ROW, time_varying=True)
    figures = spectrum(w)
    return TopologyReport(
        label=data if isinstance(data, str) else str(topology),
        nodes=graph.n,
        connected=True,
        directed=graph.directed,
        edges=len(graph.edges if graph.directed else graph.links),
        degree=(int(graph.in_degree.min()), int(graph.in_degree.max())),
        sends_to=(int(graph.out_degree.min()), int(graph.out_degree.max())),
        symmetric=is_symmetric(w),
        stochastic=_SUMS[sums],
        slem=figures.slem,
        slem_of=_what_mixes(w),
        spectral_gap=figures.gap,
        iterations_to_1e6=figures.iterations_to_1e6,
        graph=graph,
    )


def _what_mixes(w: Weights) -> str:
    """What the eigenvalues are of."""
    if isinstance(w, Cycle):
        return "a whole cycle's W, per iteration"
    return "the mean W" if w.varies else "W"


def _range(ends: tuple[int, int]) -> str:
    low, high = ends
    return str(low) if low == high else f"{low} to {high}"
