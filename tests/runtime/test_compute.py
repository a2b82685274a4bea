from __future__ import annotations

import threading

import pytest

from p2pdo.errors import WorkloadFailed
from p2pdo.runtime.compute import ThreadCompute


@pytest.mark.asyncio
async def test_a_thread_that_cannot_be_started_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    compute = ThreadCompute("workload w1")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(WorkloadFailed, match="workload w1: can't start new thread"):
            await compute.run(list, "lost")

    assert await compute.run(list, "ok") == ["o", "k"]
    compute.close()
