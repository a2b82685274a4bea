"""A node's state folder: whose it is, and what is told where it takes nothing."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from p2pdo.errors import ConfigError, Conflict
from p2pdo.node.run import NodeSettings, run_node
from p2pdo.node.state_folder import held, write_state


@pytest.mark.asyncio
async def test_a_second_node_in_a_folder_is_refused(tmp_path: Path) -> None:
    second = NodeSettings("127.0.0.1:1", "b", tmp_path, insecure=True)
    with held(tmp_path), pytest.raises(Conflict, match="another node is using"):
        await run_node(second)
    with held(tmp_path):
        pass  # it is free again


def test_a_folder_that_takes_nothing_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "node.lock").mkdir()
    with (
        pytest.raises(ConfigError, match="cannot use the state directory") as caught,
        held(tmp_path),
    ):
        pass
    assert "--state DIR" in str(caught.value.hint)


def test_a_final_state_is_whole_or_not_there(tmp_path: Path) -> None:
    x = np.arange(3.0)
    np.testing.assert_array_equal(load_file(write_state(tmp_path / "w", x))["x"], x)
    (tmp_path / "full" / "state.safetensors").mkdir(parents=True)  # nothing can take its name
    with pytest.raises(ConfigError, match="cannot keep the final state in") as caught:
        write_state(tmp_path / "full", x)
    assert "--state DIR" in str(caught.value.hint)
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["state.safetensors"]
