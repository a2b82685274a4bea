"""Networks of participants in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default
from p2pdo.participants.definition import participant
from p2pdo.participants.me import Outcome, Progress
from p2pdo.simulation.network import Weather
from p2pdo.simulation.participation import ParticipantPlan, simulate_participants

Run = Callable[..., tuple[list[Outcome], list[Progress]]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a function as a participant on a simulated network, to the end."""

    def run_it(
        function: Any,
        *,
        nodes: int = 4,
        topology: str = "ring",
        weather: Weather | None = None,
        delay_seed: int = 0,
        workload: str = "w",
        encode: Any = None,
        decode: Any = None,
        parameters: dict[str, Any] | None = None,
        **settings: Any,
    ) -> tuple[list[Outcome], list[Progress]]:
        made = participant(encode=encode, decode=decode)(function)
        graph = by_name(topology, nodes, np.random.default_rng(0))
        plan = ParticipantPlan(
            made,
            made.bind(parameters or {}),
            graph,
            default(graph),
            rounds=10,
            checkpoints="c",
            folders=lambda i: tmp_path / f"node-{i}",
        )
        told: list[Progress] = []
        outcomes = simulate_participants(
            replace(plan, **settings), workload, told.append, delay_seed=delay_seed, weather=weather
        )
        return outcomes, told

    return run_it
