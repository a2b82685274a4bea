"""What is recorded stays at its node, in a file that NumPy reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pdo.errors import ConfigError
from p2pdo.participants.history import History


def test_each_node_keeps_its_own_history_of_what_was_asked_for(run: Any, tmp_path: Path) -> None:
    def walk(me: Any) -> None:
        x = np.full(2, float(me.node))
        for k in me.rounds():
            x = me.mix(x)
            if k % 2 == 0:
                me.record(x=x, loss=k + 0.5, other=x)

    run(walk, rounds=6, record=("x", "loss"))
    folder = tmp_path / "node-1/workloads/w"
    with np.load(folder / "history.npz") as history:
        assert sorted(history.files) == ["loss", "loss.iteration", "x", "x.iteration"]
        assert history["x"].shape == (3, 2)
        assert history["x.iteration"].tolist() == [0, 2, 4]
        assert history["loss"].tolist() == [0.5, 2.5, 4.5]
    assert [path.name for path in folder.iterdir()] == ["history.npz"]
    assert not (tmp_path / "node-1/workloads/w/other.npy").exists()


def test_a_name_that_is_never_recorded_is_told(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    def walk(me: Any) -> None:
        for k in me.rounds():
            me.record(loss=k)

    run(walk, nodes=2, topology="complete", rounds=2, record=("x", "loss"))
    assert sorted(caplog.messages) == [
        f"there is no history of 'x' at node-{i}: participant walk never called me.record(x=…)"
        for i in range(2)
    ]


def test_it_can_be_read_while_it_grows(tmp_path: Path) -> None:
    history = History(tmp_path)
    for k in range(1200):
        history.append("x", k, np.full((2, 2), k))
        if k in (0, 9, 10, 999, 1000):
            assert np.load(tmp_path / "x.npy")[-1].tolist() == [[k, k], [k, k]]
            assert len(np.load(tmp_path / "x.npy")) == k + 1
    history.close()
    with np.load(tmp_path / "history.npz") as whole:
        assert whole["x"][:, 0, 0].tolist() == list(range(1200))


def test_a_changed_shape_and_what_is_no_number_are_refused(tmp_path: Path) -> None:
    with History(tmp_path) as history:
        history.append("x", 0, np.zeros(2))
        with pytest.raises(ConfigError, match=r"'x' was recorded as float64 \(2,\), now"):
            history.append("x", 1, np.zeros(3))
        with pytest.raises(ConfigError, match="cannot be recorded"):
            history.append("../y", 0, np.zeros(2))
        with pytest.raises(ConfigError, match="cannot be recorded"):
            history.append("y", 0, np.array(["a"]))
