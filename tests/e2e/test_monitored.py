"""Monitored runs of real processes: right ones to their end, a broken method to its iteration."""

import json
import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from started_daemons import BIN, Network, network_of

import p2pdo

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]

FORGETFUL = """
    from dataclasses import dataclass

    from p2pdo.algorithms import GradientTracking
    from p2pdo.algorithms.gradient_tracking import TrackingState
    from p2pdo.effects import mix


    @dataclass(frozen=True)
    class Forgetful(GradientTracking):
        # From iteration 30 on, node 1 forgets a hundredth of its tracker.

        def step(self, s, problem, here):
            x_mixed, y_mixed = yield from mix(s.x, s.y)
            x = x_mixed - self.step_size * s.y
            g = problem.gradient(x)
            kept = 0.99 if here.iteration >= 30 and here.node == 1 else 1.0
            return TrackingState(x, kept * y_mixed + g - s.g, g)
"""
LEAKY = """
    from dataclasses import dataclass

    from p2pdo.algorithms import AsySonata


    @dataclass(frozen=True)
    class Leaky(AsySonata):
        # After its 30th wake-up, node 1 loses a hundredth of what a message brings.

        def receive(self, s, sender, parts, here):
            after, reply = super().receive(s, sender, parts, here)
            kept = 0.99 if here.iteration >= 30 and here.node == 1 else 1.0
            return after._replace(arrived=s.arrived + kept * parts["z"]), reply
"""
LEAKS = "the ledger of 'z' is broken at"
BROKEN = "the invariant 'mean y = mean g' is broken: over the 3 nodes it is off by"


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with broken methods, also as if they were installed."""
    folder = tmp_path_factory.mktemp("methods")
    (folder / "forgetful.py").write_text(textwrap.dedent(FORGETFUL))
    made = folder / "forgetful-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: forgetful\nVersion: 1.0\n")
    (folder / "leaky.py").write_text(textwrap.dedent(LEAKY))
    entry = "[p2pdo.algorithms]\nforgetful = forgetful:Forgetful\nleaky = leaky:Leaky\n"
    (made / "entry_points.txt").write_text(entry)
    return folder


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    asked = [BIN / "p2pdo", "run", "quadratic", "-n", "3", "--rounds", "200"]
    return subprocess.run(
        [*asked, "--observe-every", "20", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


# ---- processes of this machine ----


@pytest.mark.parametrize("lane", ["grpc", "shared-memory"])
def test_a_right_run_is_looked_at_in_every_iteration_and_has_the_bits_of_one_that_is_not(
    lane: str,
) -> None:
    asked: Any = {"rounds": 1000, "observe_every": 500, "nodes": 4, "lane": lane}
    shas = {
        monitor: p2pdo.run("quadratic", on="processes", monitor=monitor, **asked).summary
        for monitor in ("every", "off")
    }
    dense = p2pdo.run("quadratic", on="dense", **{**asked, "lane": "auto"}).summary
    assert {one.state_sha256 for one in shas.values()} == {dense.state_sha256}
    assert shas["every"].links == {lane: 4}
    assert {one.bytes_sent for one in shas.values()} == {dense.bytes_sent}


@pytest.mark.parametrize(
    ("topology", "algorithm", "codec"),
    [
        ("directed-ring", "push-diging", "none"),
        ("one-peer-exponential", "gradient-tracking", "none"),
        ("ring", "lead", "max-qsgd:7"),
    ],
)
def test_directed_varying_and_coded_runs_are_looked_at(
    topology: str, algorithm: str, codec: str
) -> None:
    asked: Any = {"rounds": 100, "nodes": 4, "topology": topology, "codec": codec}
    found = p2pdo.run(
        "quadratic", algorithm=algorithm, on="processes", monitor="every", **asked
    ).summary
    dense = p2pdo.run("quadratic", algorithm=algorithm, on="dense", **asked).summary
    assert found.state_sha256 == dense.state_sha256


@pytest.mark.parametrize(("asked", "at"), [("auto", 40), ("every", 31), ("7", 35)])
def test_a_broken_method_is_told_with_its_iteration_on_the_screen(
    forgetful: Path, asked: str, at: int
) -> None:
    ended = run(forgetful, "-a", "forgetful.py:Forgetful", "--monitor", asked)
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-2:]
    assert last[0].startswith(f"error[invariant-broken]: {BROKEN}")
    assert last[0].endswith(f"iteration {at})")
    assert "--monitor off runs on" in last[1]


def test_and_in_json_and_without_a_monitor_it_runs_on(forgetful: Path) -> None:
    asked = ["-a", "forgetful.py:Forgetful", "--json", "--lane", "grpc"]
    ended = run(forgetful, *asked, "--monitor", "every")
    error = json.loads(ended.stdout)["error"]
    assert (error["code"], error["iteration"]) == ("invariant-broken", 31)
    assert error["message"].startswith(BROKEN)
    assert "node" not in error or error["node"] is None
    assert run(forgetful, *asked, "--monitor", "off").returncode == 0


@pytest.mark.parametrize(("asked", "at"), [("auto", 40), ("every", 31)])
def test_a_ledger_that_is_broken_in_a_process_ends_the_run_with_its_node_and_wake_up(
    forgetful: Path, asked: str, at: int
) -> None:
    ended = run(forgetful, "-a", "leaky.py:Leaky", "--monitor", asked, "--json")
    assert ended.returncode == 1
    error = json.loads(ended.stdout)["error"]
    assert (error["code"], error["node"], error["iteration"]) == ("invariant-broken", "node-1", at)
    assert error["message"].startswith(f"{LEAKS} node-1")
    assert "--monitor off runs on" in error["hint"]


def test_an_honest_asynchronous_run_is_looked_at_to_its_end_and_a_leaky_one_unasked(
    forgetful: Path,
) -> None:
    assert run(forgetful, "-a", "asy-sonata", "--monitor", "every").returncode == 0
    assert run(forgetful, "-a", "leaky.py:Leaky", "--monitor", "off").returncode == 0


# ---- a network of daemons ----


@pytest.fixture(scope="module")
def network(forgetful: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    path = os.pathsep.join([str(forgetful), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path}
    with network_of(["lyon", "oslo", "rome"], tmp_path_factory.mktemp("network"), env) as network:
        yield network


def submit(network: Network, *arguments: str) -> tuple[int, Any]:
    return network.call("submit", "quadratic", "-n", "3", "--rounds", "200", *arguments)


def test_daemons_are_looked_at_where_that_is_asked_for(network: Network) -> None:
    shas = set()
    for asked, looks in (("off", None), ("observed", 4), ("30", 6)):
        code, ended = submit(network, "--monitor", asked, "--wait")
        assert code == 0
        shas.add(ended["state_sha256"])
        told = network.data("show", ended["workload_id"])["resolved"].get("monitor")
        assert told == (looks and {"looked_at": looks, "passed_over": 0})
    assert len(shas) == 1


def test_show_tells_how_much_was_looked_at(network: Network) -> None:
    _, ended = submit(network, "--monitor", "every", "--wait")
    with network.start("show", ended["workload_id"]) as shown:
        assert "looked at 200 iterations\n" in shown.communicate(timeout=60)[0]


def test_daemons_with_a_broken_method_fail_with_its_iteration(network: Network) -> None:
    code, error = submit(network, "-a", "forgetful", "--monitor", "every", "--wait")
    assert code == 1
    assert (error["code"], error["iteration"]) == ("invariant-broken", 31)
    assert error["message"].startswith(BROKEN)
    assert submit(network, "-a", "forgetful", "--wait")[0] == 0, "nobody looks unasked"


def test_daemons_keep_their_ledgers_by_themselves(network: Network) -> None:
    code, error = submit(network, "-a", "leaky", "--monitor", "every", "--wait")
    assert code == 1
    assert (error["code"], error["iteration"]) == ("invariant-broken", 31)
    assert error["node"] in ("lyon", "oslo", "rome")
    assert error["message"].startswith(f"{LEAKS} {error['node']}")
    assert submit(network, "-a", "asy-sonata", "--monitor", "every", "--wait")[0] == 0
    code, error = submit(network, "-a", "asynchronous-consensus", "--monitor", "every")
    assert code == 3
    assert "keep no ledger" in error["message"]


def test_one_node_is_not_monitored(network: Network) -> None:
    code, error = network.call("submit", "quadratic", "--node", "oslo", "--monitor", "every")
    assert code == 3
    assert "of one node is its own part" in error["message"]
