"""A coordinator and three nodes, started by hand on loopback, and the verbs that speak to them."""

import contextlib
import itertools
import json
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from started_daemons import BIN, Network, network_of

NAMES = ["lyon", "oslo", "rome"]
pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network_of(NAMES, tmp_path_factory.mktemp("network")) as network:
        yield network


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def submit_and_wait(network: Network, *arguments: str) -> Any:
    asked = ["quadratic", "-n", "3", "--rounds", "100", "--wait"]
    return network.data("submit", *asked, *arguments)


def test_the_nodes_are_listed(network: Network) -> None:
    nodes = network.data("nodes")
    assert [(node["name"], node["state"]) for node in nodes] == [(name, "up") for name in NAMES]


def test_returned_states_have_the_bits_of_a_local_run(network: Network) -> None:
    data = submit_and_wait(network, "--return-states", "--out", "here")
    local = network.data("run", "quadratic", "-n", "3", "--rounds", "100", "--on", "dense")
    for key in ("state_sha256", "gap", "consensus_error", "bytes_sent", "messages_sent"):
        assert data[key] == local[key], key
    assert list(data) == list(local)
    assert data["run_dir"] == "here"
    files = {path.name for path in Path("here").iterdir()}
    pictures = {"topology.png", "pace.png"}  # the gap is known at the end only
    assert files == {"run.toml", "metrics.jsonl", "states", "summary.json"} | pictures
    assert sorted(path.stem for path in Path("here/states").iterdir()) == NAMES


def test_without_returned_states_nobody_knows_the_gap(network: Network) -> None:
    data = submit_and_wait(network)
    unknown = ("gap", "consensus_error", "value", "optimum", "distance_to_optimum", "run_dir")
    assert [data[key] for key in unknown] == [None] * len(unknown)
    assert (data["status"], data["iterations"], data["executor"]) == ("done", 100, "daemons")


def test_daemons_end_by_themselves_where_they_have_settled(network: Network) -> None:
    asked = ["quadratic", "-n", "3", "--settle", "1e-6", "--rounds", "5000"]
    data = network.data("submit", *asked, "--wait")
    local = network.data("run", *asked, "--on", "dense")
    assert data["status"] == local["status"] == "settled"
    for key in ("iterations", "state_sha256", "bytes_sent"):
        assert data[key] == local[key], key


def test_the_same_request_is_never_two_workloads(network: Network) -> None:
    asked = ["submit", "quadratic", "-n", "3", "--rounds", "5", "--request-id", "mine"]
    one, same = network.data(*asked), network.data(*asked)
    assert one == same


def test_nodes_are_chosen_by_name_in_the_order_of_the_topology(network: Network) -> None:
    data = submit_and_wait(network, "--node", "rome", "--node", "lyon", "--node", "oslo")
    members = network.data("show", data["workload_id"])["members"]
    assert [member["node"] for member in members] == ["rome", "lyon", "oslo"]


def test_a_workload_is_listed_shown_and_watched_after_its_end(network: Network) -> None:
    data = submit_and_wait(network)
    workload = data["workload_id"]
    rows = {row["workload_id"]: row for row in network.data("ls")}
    assert rows[workload]["status"] == "done"
    shown = network.data("show", workload)
    assert shown["resolved"]["parameters"]["step_size"] > 0
    assert {member["iteration"] for member in shown["members"]} == {100}
    assert network.data("watch", workload) == data


def test_results_write_the_run_folder_of_an_earlier_workload(network: Network) -> None:
    data = submit_and_wait(network, "--return-states")
    written = network.data("results", data["workload_id"], "--out", "later")
    assert written == {**data, "run_dir": "later"}
    summary = json.loads(Path("later/summary.json").read_text())
    assert summary == written
    assert Path("later/pace.png").exists()


def test_a_long_run_is_watched_until_somebody_stops_it(network: Network) -> None:
    workload = network.long_run()
    watching = network.start("watch", workload, "--json")
    assert watching.stderr is not None
    assert any(line.startswith("iteration") for line in watching.stderr)
    code, error = network.call("results", workload)
    assert (code, error["code"]) == (4, "conflict")
    links = network.data("show", workload, "--links")["links"]
    assert {frozenset((link["node"], link["neighbour"])) for link in links} == {
        frozenset(pair) for pair in itertools.combinations(NAMES, 2)
    }
    assert {link["lane"] for link in links} <= {"grpc", "shared-memory"}
    reason = ["--reason", "lunch"]
    assert network.data("stop", workload, *reason) == {"workload_id": workload, "status": "stopped"}
    stdout, _ = watching.communicate(timeout=60)
    error = json.loads(stdout)["error"]
    assert (watching.returncode, error["code"]) == (1, "workload-stopped")
    assert "lunch" in error["message"]
    assert network.data("show", workload)["status"] == "stopped"


def test_ctrl_c_ends_the_watching_and_not_the_workload(network: Network) -> None:
    workload = network.long_run()
    watching = network.start("watch", workload, "--json")
    assert watching.stderr is not None
    assert any(line.startswith("iteration") for line in watching.stderr)
    watching.send_signal(signal.SIGINT)
    stdout, _ = watching.communicate(timeout=60)
    error = json.loads(stdout)["error"]
    assert (watching.returncode, error["code"]) == (130, "interrupted")
    assert f"p2pdo stop {workload}" in error["hint"]
    assert network.data("show", workload)["status"] == "running"
    network.data("stop", workload)


def test_an_unknown_id_is_answered_with_the_nearest(network: Network) -> None:
    workload = submit_and_wait(network)["workload_id"]
    mistyped = workload[:-1] + ("x" if workload[-1] != "x" else "y")
    for verb in ("show", "watch", "stop", "results"):
        code, error = network.call(verb, mistyped)
        assert (code, error["code"]) == (4, "not-found")
        assert f"did you mean '{workload}'" in error["hint"]


@pytest.mark.parametrize(
    ("arguments", "code", "remedy"),
    [
        (["-n", "9"], 4, "p2pdo-node"),
        (["--node", "lyon", "--node", "nice"], 4, "lyon, oslo, rome"),
        (["-n", "3", "--algorithm", "dgdd"], 3, "did you mean 'dgd'"),
        (["-n", "3", "--topology", "rng"], 3, "did you mean 'ring'"),
        (["-n", "3", "--weights", "unifrom"], 3, "did you mean 'uniform'"),
        (["-n", "3", "--partition", "idd", "--wait"], 3, "did you mean 'iid'"),
        (["-n", "3", "--set", "step_size=-1"], 3, "--set step_size"),
        (["-n", "3", "--set", "problem.dimension=0"], 3, "for example dimension=10"),
        (["-n", "3", "--dtype", "float16"], 3, "resubmit"),
        (["-n", "3", "--rounds", "-1"], 3, "--rounds 100"),
        (["-n", "3", "--tol", "1e-6"], 3, "--settle EPS"),
        (["-n", "3", "--settle", "0"], 3, "resubmit"),
        (["-n", "0"], 3, ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_a_coordinator_refuses_is_told_with_a_remedy(
    network: Network, arguments: list[str], code: int, remedy: str
) -> None:
    exit_code, error = network.call("submit", "quadratic", *arguments)
    assert exit_code == code, error
    assert error["hint"]
    assert remedy in error["hint"]


def test_garbage_on_a_port_harms_no_honest_client(network: Network) -> None:
    addresses = [network.address, *(node["address"] for node in network.data("nodes"))]
    for address in addresses:
        host, _, port = address.rpartition(":")
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", secrets.token_bytes(4096), b"\0" * 9):
            client = socket.create_connection((host, int(port)), timeout=10)
            with client, contextlib.suppress(ConnectionError):
                client.sendall(garbage)
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
    assert submit_and_wait(network)["status"] == "done"
    assert [node["state"] for node in network.data("nodes")] == ["up"] * 3


def refused(program: str, *arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        [BIN / program, *map(str, arguments), "--insecure"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "Traceback" not in done.stderr
    assert "\n  try: " in done.stderr
    return done.returncode, done.stderr


def test_a_second_node_of_one_name_is_refused(network: Network, tmp_path: Path) -> None:
    where = ["--coordinator", network.address, "--state", tmp_path / "twin"]
    code, stderr = refused("p2pdo-node", "--name", "oslo", *where)
    assert code == 4
    assert "oslo" in stderr


def test_a_port_in_use_is_told(network: Network, tmp_path: Path) -> None:
    listen = ["--listen", network.address, "--state", tmp_path / "state"]
    code, stderr = refused("p2pdo-coordinator", *listen)
    assert code == 4
    assert stderr.startswith(f"error[conflict]: cannot listen on {network.address}")
    joining = ["--coordinator", network.address, "--name", "nice"]
    assert refused("p2pdo-node", *joining, *listen)[0] == 4


def test_a_person_reads_tables(network: Network) -> None:
    asked = ["quadratic", "-n", "3", "--rounds", "5"]
    stdout, _ = network.start("submit", *asked).communicate(timeout=60)
    submitted, following = stdout.splitlines()
    workload = submitted.removeprefix("submitted ")
    assert following == f"next: p2pdo watch {workload}"
    stdout, _ = network.start("watch", workload).communicate(timeout=60)
    assert stdout.startswith(f"done  {workload}  gradient-tracking on quadratic, 3 nodes, ring")
    stdout, _ = network.start("nodes").communicate(timeout=60)
    assert stdout.split()[:3] == ["NODE", "STATE", "ADDRESS"]
    stdout, _ = network.start("ls").communicate(timeout=60)
    assert workload in stdout
    stdout, _ = network.start("show", workload).communicate(timeout=60)
    assert stdout.startswith(f"done  {workload}  gradient-tracking on quadratic\n")
    assert "run_algorithm  succeeded" in stdout
