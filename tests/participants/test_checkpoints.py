"""Checkpoints: runs go on where all nodes were; torn files, other futures, other runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pdo.dtypes import bfloat16
from p2pdo.errors import ConfigError, Conflict, LocalProtocolError, P2pdoError, WorkloadFailed
from p2pdo.participants.checkpoints import Checkpoints
from p2pdo.simulation.network import Weather

BAD = Weather(delay=0.05, duplicate=0.2, cut=0.02)


def noisy_walk(me: Any, *, stop: int = -1, keep: bool = True) -> Any:
    """A node's state is a function of all rounds and their random numbers."""
    x = np.zeros(3)
    steps = {"taken": 0}
    if me.restore(x=x) is not None:
        steps = me.restored["steps"]
    for k in me.rounds():
        x[:] = me.mix(x) + me.rng.standard_normal(3)
        steps["taken"] += 1
        if keep:
            me.checkpoint(x=x, steps=steps)
        if k == stop and me.node == 2:
            raise ValueError("power failure")
    return [*x.tolist(), steps["taken"]]


@pytest.mark.parametrize("topology", ["ring", "directed-ring", "path"])
@pytest.mark.parametrize("seed", range(3))
def test_a_second_run_goes_on_with_the_same_bits(run: Any, topology: str, seed: int) -> None:
    settings = {"nodes": 5, "topology": topology, "weather": BAD, "delay_seed": seed}
    whole, _ = run(noisy_walk, rounds=40, parameters={"keep": False}, **settings)
    with pytest.raises(WorkloadFailed, match="power failure"):
        run(noisy_walk, rounds=40, parameters={"stop": 23}, **settings)
    rest, told = run(noisy_walk, rounds=40, **settings)
    assert [o.result for o in rest] == [o.result for o in whole]
    assert min(progress.iteration for progress in told) >= 20
    assert [o.iterations for o in rest] == [40] * 5


def test_a_node_keeps_what_the_slowest_may_need_and_no_more(run: Any, tmp_path: Path) -> None:
    run(noisy_walk, rounds=30)
    files = sorted(int(p.stem) for p in (tmp_path / "node-0/checkpoints/c").glob("*.json"))
    assert files == [25, 26, 27, 28, 29]  # round 25 is N = 4 exchanges old


def test_without_a_checkpoint_at_every_node_there_is_none(run: Any, tmp_path: Path) -> None:
    run(noisy_walk, rounds=5)
    for path in (tmp_path / "node-3/checkpoints/c").iterdir():
        path.unlink()
    outcomes, _ = run(lambda me: me.restore())
    assert [o.result for o in outcomes] == [None] * 4


def test_a_torn_checkpoint_is_passed_over_by_all(run: Any, tmp_path: Path) -> None:
    run(noisy_walk, rounds=10)
    torn = tmp_path / "node-1/checkpoints/c/9.safetensors"
    torn.write_bytes(torn.read_bytes()[:-1] + b"!")
    (tmp_path / "node-2/checkpoints/c/8.json").write_text("{")
    outcomes, _ = run(lambda me: me.restore())
    assert [o.result for o in outcomes] == [7] * 4


def test_a_run_that_does_not_restore_begins_a_new_future(run: Any, tmp_path: Path) -> None:
    def fresh(me: Any) -> None:
        for _ in me.rounds():
            me.mix(0.0)
            me.checkpoint(at=me.round)

    run(noisy_walk, rounds=30)
    run(fresh, rounds=2)
    assert sorted(p.stem for p in (tmp_path / "node-0/checkpoints/c").glob("*.json")) == ["0", "1"]
    outcomes, _ = run(lambda me: me.restore())
    assert [o.result for o in outcomes] == [1] * 4


def test_a_checkpoint_is_two_files_of_known_formats(run: Any, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    run(noisy_walk, nodes=1, rounds=3)
    folder = tmp_path / "node-0/checkpoints/c"
    record = json.loads((folder / "2.json").read_text())
    assert (record["round"], record["exchanges"]) == (2, 3)
    assert load_file(folder / "2.safetensors")["x"].shape == (3,)
    assert not list(folder.glob("*.draft"))


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    first, second = Checkpoints(tmp_path, 1), Checkpoints(tmp_path, 1)
    first.write(0, 1, {"a": 1})
    with pytest.raises(Conflict, match="another run"):
        second.rounds()
    first.close()
    assert second.rounds() == [0]
    second.close()


def test_things_come_back_as_they_were(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, 1)
    things = {
        "array": np.arange(6.0).reshape(2, 3).T,
        "scalar": np.float32(0.5),
        "half": np.array([1.5, -2.0], bfloat16()),
        "plain": {"a": [1, None, "x", True, 0.1], "t": (1, (2,)), 3: "three", "inf": float("inf")},
        "$odd": {"$tuple": []},
    }
    kept.write(4, 9, things)
    back, exchanges = kept.go_on_from(4)
    kept.close()
    assert exchanges == 9
    assert back["array"].tolist() == things["array"].tolist()
    assert (back["scalar"].dtype, float(back["scalar"])) == (np.float32, 0.5)
    assert isinstance(back["half"], np.ndarray)
    assert (back["half"].dtype, back["half"].tolist()) == (bfloat16(), [1.5, -2.0])
    assert back["plain"] == things["plain"]
    assert back["$odd"] == things["$odd"]


@pytest.mark.parametrize(
    ("thing", "says"),
    [({"f": print}, r"'thing\.f' is of type builtin"), ({(1, 2): 3}, "key"), (b"x", "bytes")],
)
def test_what_cannot_be_kept_is_named(tmp_path: Path, thing: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Checkpoints(tmp_path, 1).write(0, 0, {"thing": thing})
    assert not list(tmp_path.iterdir())


def test_what_is_not_in_the_checkpoint_is_refused(run: Any) -> None:
    def asks(me: Any, *, what: str) -> None:
        me.restore(**{what: np.zeros(3)})

    run(noisy_walk, rounds=3)
    with pytest.raises(P2pdoError, match="checkpoint of round 2 has no 'y'") as failure:
        run(asks, parameters={"what": "y"})
    assert failure.value.node is not None
    with pytest.raises(P2pdoError, match=r"'steps' .* cannot be restored in place"):
        run(asks, parameters={"what": "steps"})


def test_the_order_of_calls_is_held(run: Any) -> None:
    def early(me: Any) -> None:
        me.checkpoint(x=1)

    def late(me: Any) -> None:
        for _ in me.rounds():
            me.restore()

    for function in (early, late):
        with pytest.raises(LocalProtocolError, match="round"):
            run(function)
