"""Real daemons, real gRPC: the bits, the main job, and what is left when something is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import p2pdo
from p2pdo.errors import WorkloadFailed

pytestmark = pytest.mark.e2e

ALGORITHMS = ["consensus", "dgd", "dgd-cta", "gradient-tracking", "gtadam"]
NOTICED_WITHIN = 15.0


def sha(algorithm: str, on: str, **settings: object) -> tuple[str | None, int]:
    result = p2pdo.run("breast-cancer", algorithm=algorithm, on=on, **settings)
    return result.summary.state_sha256, result.summary.iterations


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_processes_have_the_bits_of_lock_step(algorithm: str) -> None:
    settings = {"rounds": 200, "observe_every": 100}
    assert sha(algorithm, "processes", **settings) == sha(algorithm, "dense", **settings)


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["grpc", "shared-memory"])
def test_each_lane_has_the_bits_of_lock_step_and_is_told(lane: str) -> None:
    settings = {"rounds": 100, "observe_every": 50, "nodes": 4}
    result = p2pdo.run("breast-cancer", on="processes", lane=lane, **settings)
    dense = p2pdo.run("breast-cancer", on="dense", **settings)
    assert result.summary.state_sha256 == dense.summary.state_sha256
    assert result.summary.bytes_sent == dense.summary.bytes_sent
    assert result.summary.links == {lane: 4}
    assert dense.summary.links == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("topology", "weights", "lane"),
    [
        ("one-peer-exponential", None, "grpc"),
        ("one-peer-exponential", None, "shared-memory"),
        ("ring", "active-links:0.5", "auto"),
    ],
)
def test_weights_that_vary_have_the_same_bits_between_processes(
    topology: str, weights: str | None, lane: str
) -> None:
    settings = {"nodes": 4, "topology": topology, "weights": weights, "rounds": 20}
    processes = p2pdo.run("least-squares", on="processes", lane=lane, **settings)
    dense = p2pdo.run("least-squares", on="dense", **settings)
    assert processes.summary.state_sha256 == dense.summary.state_sha256


@pytest.mark.slow
def test_with_a_tolerance_processes_stop_at_the_same_iteration_with_the_same_bits() -> None:
    settings = {"rounds": 1000, "observe_every": 10, "tol": 1e-3, "partition": "label-skew"}
    dense = sha("gradient-tracking", "dense", **settings)
    assert 0 < dense[1] < 1000
    assert sha("gradient-tracking", "processes", **settings) == dense


@pytest.mark.slow
@pytest.mark.parametrize("lane", ["grpc", "shared-memory"])
def test_processes_settle_at_the_same_iteration_with_the_same_bits(lane: str) -> None:
    settings = {"rounds": 5000, "observe_every": 500, "nodes": 4, "settle": 1e-4}
    found = p2pdo.run("breast-cancer", on="processes", lane=lane, **settings).summary
    dense = p2pdo.run("breast-cancer", on="dense", **settings).summary
    assert found.status == dense.status == "settled"
    assert 0 < found.iterations == dense.iterations < 5000
    assert (found.state_sha256, found.bytes_sent) == (dense.state_sha256, dense.bytes_sent)


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_one_and_two_processes_work(nodes: int) -> None:
    settings = {"nodes": nodes, "rounds": 50}
    assert sha("gradient-tracking", "processes", **settings) == sha(
        "gradient-tracking", "dense", **settings
    )


@pytest.mark.slow
def test_a_directed_ring_of_processes_works() -> None:
    settings = {"nodes": 4, "topology": "directed-ring", "rounds": 100}
    assert sha("gradient-tracking", "processes", **settings) == sha(
        "gradient-tracking", "dense", **settings
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_gradient_tracking_reaches_the_optimum_of_skewed_data_where_dgd_keeps_its_bias() -> None:
    settings = {"partition": "label-skew", "tol": 1e-8, "rounds": 10_000}
    tracking = p2pdo.run("breast-cancer", on="processes", **settings).summary
    assert tracking.status == "converged"
    assert tracking.gap is not None
    assert tracking.consensus_error is not None
    assert max(abs(tracking.gap), tracking.consensus_error) <= 1e-8
    assert tracking.iterations == 4050
    dgd = p2pdo.run(
        "breast-cancer", algorithm="dgd", on="dense", partition="label-skew", rounds=10_000
    ).summary
    assert dgd.consensus_error is not None
    assert dgd.consensus_error > 1e-3


# ---- own code in child processes ----


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A user's script with an algorithm and a problem of its own."""
    path = tmp_path / "mine.py"
    path.write_text(
        textwrap.dedent(
            """
            from dataclasses import dataclass
            from typing import ClassVar, NamedTuple
            import numpy as np
            import p2pdo
            from p2pdo.algorithms import Algorithm, Requires
            from p2pdo.effects import exchange
            from p2pdo.errors import P2pdoError

            class State(NamedTuple):
                x: np.ndarray

            @dataclass(frozen=True)
            class MaxConsensus(Algorithm[State]):
                requires: ClassVar[Requires] = Requires()
                fails_at: int = -1

                def init(self, x, problem, here):
                    return State(x)

                def step(self, s, problem, here):
                    theirs = yield from exchange(s.x)
                    if here.iteration == self.fails_at and here.node == 2:
                        raise ZeroDivisionError("on purpose")
                    return State(np.maximum.reduce([s.x, *theirs.values()]))

            @dataclass(frozen=True, eq=False)
            class Point:
                at: np.ndarray

                @property
                def dimension(self):
                    return len(self.at)

            if __name__ == "__main__":
                import sys
                starts = np.arange(12.0).reshape(4, 3)
                algorithm = MaxConsensus(fails_at=int(sys.argv[1]))
                try:
                    result = p2pdo.run([Point(row) for row in starts], algorithm=algorithm,
                                       start=starts, rounds=5, on="processes", out=sys.argv[2])
                    print([x.tolist() for x in result.states])
                except P2pdoError as error:
                    print(error.code, error.node, error.iteration, error.message)
            """
        )
    )
    return path


def run_script(script: Path, fails_at: int) -> str:
    done = subprocess.run(
        [sys.executable, str(script), str(fails_at), str(script.parent / "out")],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_an_algorithm_and_a_problem_of_a_script_reach_the_child_processes(script: Path) -> None:
    assert json.loads(run_script(script, -1)) == [[9.0, 10.0, 11.0]] * 4


@pytest.mark.slow
def test_an_exception_in_user_code_reaches_the_submitter_with_node_and_iteration(
    script: Path,
) -> None:
    told = run_script(script, 3)
    assert told.endswith("ZeroDivisionError: on purpose")
    assert "node-2 3" in told


# ---- kill -9 ----


@pytest.fixture
def launcher(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process with a long run, which prints a line per observed iteration."""
    code = """
        import asyncio, sys, p2pdo
        from p2pdo.errors import P2pdoError

        async def main():
            async with p2pdo.local(nodes=4, processes=True) as net:
                run = await net.submit("gradient-tracking", "quadratic", rounds=10**7,
                                       observe_every=100, out=sys.argv[1], lane=sys.argv[2])
                async for metric in run.metrics():
                    print(metric.iteration, flush=True)

        try:
            asyncio.run(main())
        except P2pdoError as error:
            print(error.node, error.iteration, error.message, flush=True)
            sys.exit(error.exit_code)
    """
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "run")),
            getattr(request, "param", "auto"),
        ],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    yield process
    if process.poll() is None:
        process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def wait_for_iterations(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= 100:
            return
    pytest.fail("the run ended before it iterated")


def daemons_of(process: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """The launcher's children by name."""
    found = {}
    for child in psutil.Process(process.pid).children():
        arguments = child.cmdline()
        is_node = "--name" in arguments
        found[arguments[arguments.index("--name") + 1] if is_node else "coordinator"] = child
    return found


def kill_one(process: subprocess.Popen[str], victim: str) -> None:
    wait_for_iterations(process)
    children = daemons_of(process)
    assert len(children) == 5
    children[victim].send_signal(signal.SIGKILL)
    out, _ = process.communicate(timeout=NOTICED_WITHIN)
    last = out.strip().splitlines()[-1]
    assert process.returncode == 1
    assert last.startswith(victim)
    assert int(last.split()[1]) >= 100
    assert "SIGKILL" in last
    assert_all_gone(children)


def kill_the_launcher(process: subprocess.Popen[str], run: Path) -> None:
    wait_for_iterations(process)
    children = daemons_of(process)
    process.send_signal(signal.SIGKILL)
    assert_all_gone(children)
    assert not (run / ".work").exists()


def assert_all_gone(children: dict[str, psutil.Process]) -> None:
    _, alive = psutil.wait_procs(list(children.values()), timeout=NOTICED_WITHIN)
    assert alive == []


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["node-2", "coordinator"])
def test_a_killed_process_ends_the_run_with_its_name_and_iteration(
    launcher: subprocess.Popen[str], victim: str
) -> None:
    kill_one(launcher, victim)


@pytest.mark.slow
def test_a_killed_launcher_leaves_no_process_and_no_work_behind(
    launcher: subprocess.Popen[str], tmp_path: Path
) -> None:
    kill_the_launcher(launcher, tmp_path / "run")
    assert p2pdo.run("quadratic", nodes=2, rounds=5, on="processes").summary.status == "done"


@pytest.mark.full
@pytest.mark.parametrize("launcher", ["shared-memory", "grpc"], indirect=True)
@pytest.mark.parametrize("turn", range(50))
def test_kills_over_and_over(launcher: subprocess.Popen[str], tmp_path: Path, turn: int) -> None:
    shared = set(Path("/dev/shm").iterdir())  # noqa: S108
    if turn % 3 == 2:
        kill_the_launcher(launcher, tmp_path / "run")
    else:
        kill_one(launcher, f"node-{turn // 2 % 4}")
    assert set(Path("/dev/shm").iterdir()) <= shared  # noqa: S108


# ---- secrets ----


@pytest.mark.slow
def test_the_token_is_in_no_command_line_and_no_environment(
    launcher: subprocess.Popen[str],
) -> None:
    wait_for_iterations(launcher)
    for child in daemons_of(launcher).values():
        words = " ".join([*child.cmdline(), *child.environ().values()])
        assert not any(len(word) == 64 and is_hex(word) for word in words.split())


def is_hex(word: str) -> bool:
    return all(letter in "0123456789abcdef" for letter in word)


@pytest.mark.slow
def test_a_stopped_run_says_so_and_ends_its_processes(tmp_path: Path) -> None:
    async def main() -> None:
        async with p2pdo.local(nodes=2, processes=True) as net:
            run = await net.submit("consensus", "quadratic", rounds=10**7, out=tmp_path / "run")
            async for metric in run.metrics():
                if metric.iteration:
                    break
            await run.stop("enough")
            with pytest.raises(WorkloadFailed, match="enough"):
                await run.result()

    asyncio.run(main())
    left = [p for p in psutil.Process(os.getpid()).children() if "p2pdo" in " ".join(p.cmdline())]
    assert left == []
