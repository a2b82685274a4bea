"""What each node is told, and that it is no more than it needs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from p2pdo.algorithms import catalogue
from p2pdo.algorithms.base import CostBounds, Requires, Stochastic
from p2pdo.config import OptimizationSpec
from p2pdo.errors import ConfigError
from p2pdo.protocol.assignment import (
    SETTINGS,
    Member,
    config_payloads,
    resolve_graph,
    resolved_parameters,
    topology_digest,
)
from p2pdo.types import NodeId

DOUBLY = Requires(weights=Stochastic.DOUBLY)
SPEC = OptimizationSpec.model_validate(
    {"problem": {"name": "p"}, "algorithm": {"name": "dgd"}, "rounds": 5}
).model_dump(mode="json")


def members(n: int) -> list[Member]:
    return [Member(NodeId(f"site-{i}"), f"127.0.0.1:{7000 + i}") for i in range(n)]


def payloads(topology: Any, n: int) -> list[dict[str, Any]]:
    graph, weights, _ = resolve_graph(topology, None, n, 0, None)
    return config_payloads(members(n), graph, weights, SPEC)


def test_a_node_is_told_its_neighbours_and_its_row_only() -> None:
    told = payloads("ring", 5)[0]
    assert told["index"] == 0
    assert told["name"] == "site-0"
    assert told["nodes"] == 5
    assert told["neighbors"] == {
        "1": {"name": "site-1", "address": "127.0.0.1:7001"},
        "4": {"name": "site-4", "address": "127.0.0.1:7004"},
    }
    assert told["in_neighbors"] == told["out_neighbors"] == [1, 4]
    assert [j for j, _ in told["row"]] == [0, 1, 4]
    assert sum(w for _, w in told["row"]) == pytest.approx(1)
    assert {key: told[key] for key in SETTINGS} == {key: SPEC[key] for key in SETTINGS}


def test_in_and_out_neighbours_are_told_apart_on_a_directed_ring() -> None:
    told = payloads("directed-ring", 4)[1]
    assert (told["in_neighbors"], told["out_neighbors"]) == ([0], [2])
    assert set(told["neighbors"]) == {"0", "2"}


def test_one_node_and_two_nodes_are_networks() -> None:
    (alone,) = payloads("ring", 1)
    assert (alone["neighbors"], alone["row"]) == ({}, [[0, 1.0]])
    assert [told["in_neighbors"] for told in payloads("ring", 2)] == [[1], [0]]


def test_the_digest_is_equal_on_all_nodes_and_names_who_is_who() -> None:
    assert len({told["digest"] for told in payloads("ring", 6)}) == 1
    _, weights, _ = resolve_graph("ring", None, 3, 0, None)
    digests = {
        topology_digest(weights, names) for names in (["a", "b", "c"], ["b", "a", "c"], ["ab", "c"])
    }
    assert len(digests) == 3


def test_a_payload_is_plain_data_of_the_size_of_the_neighbourhood() -> None:
    small, large = (len(json.dumps(payloads("ring", n)[1])) for n in (10, 1000))
    assert large < small + 20


def test_a_random_graph_is_a_function_of_the_seed() -> None:
    first, again, other = (
        resolve_graph("erdos-renyi:0.4", None, 12, seed, None)[0] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_a_topology_may_be_given_as_edges_or_as_a_matrix() -> None:
    graph, _, label = resolve_graph({"edges": [[0, 1], [1, 2]]}, "metropolis", 3, 0, DOUBLY)
    assert (graph.in_neighbors(1), label) == ((0, 2), "custom")
    half: Any = [[0.5, 0.5], [0.5, 0.5]]
    _, weights, _ = resolve_graph(half, None, 2, 0, DOUBLY)
    assert weights.row(0).entries == ((0, 0.5), (1, 0.5))
    with pytest.raises(ConfigError, match="given twice"):
        resolve_graph(half, "uniform", 2, 0, DOUBLY)


@pytest.mark.parametrize(
    ("topology", "weights", "requires", "words"),
    [
        ("nowhere", None, None, "unknown topology"),
        ("ring", "nothing", None, "unknown weights"),
        ({"edges": [[0, 1]]}, None, None, "not connected"),
        ({"edges": [[0, 1], [1, 2]], "directed": True}, None, None, "not strongly connected"),
        ("star", "uniform", DOUBLY, "not doubly stochastic"),
        ("directed-ring", None, Requires(weights=Stochastic.DOUBLY, symmetric=True), "symmetric"),
    ],
)
def test_what_would_not_converge_is_refused(
    topology: Any, weights: str | None, requires: Requires | None, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        resolve_graph(topology, weights, 3, 0, requires)


def test_every_parameter_travels_also_the_defaults() -> None:
    bounds = CostBounds(
        smoothness=2.0,
        least_smoothness=1.5,
        convexity=0.5,
        mean_convexity=0.6,
        mean_degree=2.0,
        largest_degree=3.0,
    )
    for name, cls in catalogue.ALGORITHMS.items():
        resolved = resolved_parameters(cls, {}, 2.0, bounds=bounds)
        told = catalogue.told_by_costs(cls, {}, bounds)
        assert catalogue.build(cls, json.loads(json.dumps(resolved))) == catalogue.build(
            cls, told, 2.0
        ), name
