"""The code of a site that a test's configuration names."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

import p2pdo
from p2pdo.problems import Quadratic


class Diary:
    """Hears what happens around algorithms."""

    heard: ClassVar[list[tuple[str, str, int]]] = []

    @p2pdo.on("BEFORE_ALGORITHM", "AFTER_ALGORITHM")
    def note(self, event: p2pdo.Event, context: p2pdo.Context) -> None:
        iteration = event.data["report"].iteration if "report" in event.data else 0
        self.heard.append((context.node, event.name, iteration))


def private(
    node_index: int, _nodes: int, _partition: str, _seed: int, dtype: str, *, centre: float = 0.0
) -> Quadratic:
    return Quadratic(np.eye(2, dtype=dtype), np.full(2, node_index + centre, dtype=dtype))


@p2pdo.participant
def remember(me: Any, *, start: float = 0.0) -> Any:
    x = np.full(2, start)
    for _ in me.rounds():
        x = me.mix(x)
    return {"start": start, "x": x.tolist()}
