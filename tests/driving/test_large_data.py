"""Large data, through everything that a task may pass: never on the thread of the event loop."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blockbuster import blockbuster_ctx

import p2pdo
from p2pdo.wire import plain

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

HERE = Path(__file__).parent
BARE = f"""
[node]
python_path = ["{HERE}"]

[executors.echo]
path = "large_site:Echo"

[executors.heavy]
path = "large_site:Heavy"
processes = 1
"""
FULL = f"""{BARE}
[components.listener]
path = "large_site:Listener"

[[task_data_filters]]
path = "large_site:Negate"

[[task_result_filters]]
path = "large_site:Negate"
"""


class Threads:
    """Notes on which threads large arrays are encoded and decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()
        for name in ("_encode_other", "_decode_array"):
            monkeypatch.setattr(plain, name, self._watched(name))
        encoder = plain.json.JSONEncoder(allow_nan=False, default=plain._encode_other)
        monkeypatch.setattr(plain, "_encode_json", encoder.encode)

    def _watched(self, name: str) -> Any:
        function = getattr(plain, name)

        def watched(value: Any) -> Any:
            self.seen[name, threading.current_thread().name] += 1
            return function(value)

        return watched

    def of(self, name: str) -> set[str]:
        return {thread for what, thread in self.seen if what == name}


@pytest.mark.parametrize("configuration", [BARE, FULL], ids=["bare", "filters and listeners"])
async def test_large_data_are_encoded_and_decoded_off_the_loop(
    configuration: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "p2pdo.toml"
    config.write_text(configuration)
    data = np.arange(3_000_000 // 8, dtype=np.float64)
    async with p2pdo.local(nodes=2, config=config) as net, net.driver() as tasks:
        threads = Threads(monkeypatch)
        with blockbuster_ctx(scanned_modules=["p2pdo"]):
            for name in ("plain", "later", "far"):
                for result in await tasks.broadcast_and_wait(name, data):
                    np.testing.assert_array_equal(result.unwrap(), data)
            asked = await tasks.send_and_wait("ask_around", data, to="node-0")
    assert abs(asked.unwrap()) == pytest.approx(data.sum())
    for name in ("_encode_other", "_decode_array"):
        assert threads.of(name)
        assert threading.main_thread().name not in threads.of(name)


async def test_what_is_sent_to_many_nodes_is_encoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "p2pdo.toml"
    config.write_text(BARE)
    encoded: list[Any] = []

    def encode(value: Any) -> str:
        encoded.append(value)
        return plain.encode_data(value)

    monkeypatch.setattr("p2pdo.driving.sending.encode_data", encode)
    async with p2pdo.local(nodes=3, config=config) as net, net.driver() as tasks:
        results = await tasks.broadcast_and_wait("later", [1.0])
        assert [result.unwrap() for result in results] == [[1.0]] * 3
    assert encoded == [[1.0]]
