"""`p2pdo bench`: what it prints, never how fast it is."""

from collections.abc import Callable
from typing import Any

import pytest

Call = Callable[..., Any]
SPREAD = {"median", "min", "max", "runs"}


def check_spread(spread: dict[str, Any], runs: int) -> None:
    assert spread.keys() == SPREAD
    assert len(spread["runs"]) == runs
    assert 0 < spread["min"] <= spread["median"] <= spread["max"]


def check_machine(machine: dict[str, Any]) -> None:
    assert machine.keys() == {
        "system",
        "machine",
        "cpu",
        "blas",
        "cores",
        "memory_gb",
        "versions",
        "date",
    }
    assert machine["cores"] >= 1


@pytest.mark.e2e
@pytest.mark.slow
def test_a_ring_is_measured_in_rate_cpu_traffic_and_memory(call: Call) -> None:
    line = "bench ring -n 3 --sizes 1000 --repeat 2 --seconds 0.1 --lane grpc --json"
    told = call(*line.split())
    data = told.data
    check_machine(data.pop("machine"))
    (row,) = data.pop("rows")
    assert data == {
        "nodes": 3,
        "sizes": [1000],
        "lane": "grpc",
        "algorithm": "consensus",
        "repeat": 2,
        "seconds": 0.1,
    }
    assert row["floats"] == 1000
    assert row["iterations"] >= 1
    rate, sent = row["iterations_per_s"], row["sent_mb_per_s_per_node"]
    check_spread(rate, 2)
    check_spread(sent, 2)
    # a node sends its 1000 floats of 4 bytes to both neighbours in each iteration
    assert sent["runs"] == pytest.approx([it * 2 * 4000 / 1e6 for it in rate["runs"]])
    check_spread(row["peak_memory_mb_per_node"], 2)
    values = (2 + 3) * 1000 * 4 / 1e6  # of each neighbour, and three more
    assert row["peak_memory_mb_over_the_values"]["runs"] == pytest.approx(
        [peak - values for peak in row["peak_memory_mb_per_node"]["runs"]]
    )
    assert row["cpu_ms_per_node_iteration"].keys() == SPREAD
    assert "run 2 of 2, 1,000 floats: " in told.stderr


@pytest.mark.e2e
@pytest.mark.slow
def test_a_ring_may_run_another_algorithm_and_is_printed_as_a_table(call: Call) -> None:
    line = "bench ring -n 2 -a gradient-tracking --sizes 1,10 --repeat 1 --seconds 0.05 -q"
    told = call(*line.split())
    assert told.stderr == ""
    header, *rows = told.stdout.splitlines()
    assert header.split("  ")[0] == "FLOATS"
    assert [row.split()[0] for row in rows] == ["1", "10"]


@pytest.mark.slow
def test_the_lead_client_stands_beside_routers_by_hand(call: Call) -> None:
    line = "bench router --clients 5 --tasks 40 --repeat 2 --json"
    told = call(*line.split())
    data = told.data
    check_machine(data.pop("machine"))
    routers = data.pop("routers")
    assert data == {"repeat": 2, "clients": 5, "tasks_per_client": 40}
    assert [one["router"] for one in routers] == ["lead client", "by hand", "bare queues"]
    for one in routers:
        check_spread(one["tasks_per_s"], 2)
        check_spread(one["cpu_us_per_task"], 2)
    ours = routers[0]["cpu_us_per_task"]["runs"]
    for one in routers:
        pairs = zip(one["cpu_us_per_task"]["runs"], ours, strict=True)
        assert one["lead_client_share"]["runs"] == pytest.approx([hers / we for hers, we in pairs])
    assert told.stderr.splitlines()[-1].startswith("run 2 of 2, bare queues: ")
    line = "bench router --clients 2 --tasks 3 --repeat 1 -q"
    table = call(*line.split()).stdout.splitlines()
    assert [row[:11].strip() for row in table[1:]] == ["lead client", "by hand", "bare queues"]


@pytest.mark.slow
def test_nodes_of_one_process_are_measured_at_both_workloads(call: Call) -> None:
    line = "bench simulate --nodes 3,5 --repeat 2 --seconds 0.02"
    told = call(*line.split(), "--json")
    data = told.data
    check_machine(data.pop("machine"))
    rows = data.pop("rows")
    assert data == {"nodes": [3, 5], "repeat": 2, "seconds": 0.02}
    assert [(row["algorithm"], row["dimension"], row["nodes"]) for row in rows] == [
        ("consensus", 1, 3),
        ("gradient-tracking", 10, 3),
        ("consensus", 1, 5),
        ("gradient-tracking", 10, 5),
    ]
    for row in rows:
        check_spread(row["node_iterations_per_s"], 2)
        check_spread(row["cpu_us_per_node_iteration"], 2)
    assert "run 2 of 2, gradient-tracking, 5 nodes: " in told.stderr
    assert len(call(*line.split(), "-q").stdout.splitlines()) == 5


@pytest.mark.parametrize("algorithm", ["gradient-tracking", "consensus"])
def test_stacked_nodes_are_compared_with_the_recursion_by_hand(call: Call, algorithm: str) -> None:
    line = f"bench stacked -a {algorithm} -n 1500 -d 3 --rounds 8 --repeat 2 --json"
    told = call(*line.split())
    data = told.data
    check_machine(data.pop("machine"))
    check_spread(data["ratio"], 2)
    assert data["ratio"]["runs"] == pytest.approx(
        [a / b for a, b in zip(data["cpu_s"]["runs"], data["by_hand_cpu_s"]["runs"], strict=True)]
    )
    assert "run 2 of 2: " in told.stderr


def test_what_nobody_wrote_by_hand_is_not_compared(call: Call) -> None:
    told = call(*["bench", "stacked", "-a", "extra", "-q"])
    assert told.code == 3
    assert "nobody has written 'extra' by hand" in " ".join(told.stderr.split())
