"""The routers that are compared do the same."""

import asyncio
from collections import defaultdict

import pytest

from p2pdo.benchmarks.router import ROUTERS, Load


def test_the_waves_are_every_clients_tasks_in_order() -> None:
    load = Load(clients=3, each=40)
    numbers = defaultdict(list)
    for wave in load.waves():
        assert len(wave) <= 3 * 16
        for task in wave:
            numbers[task.workload_id].append(task.number)
    assert set(numbers) == {"0", "1", "2"}
    assert all(found == list(range(40)) for found in numbers.values())


@pytest.mark.parametrize("router", ROUTERS)
def test_a_router_gets_through_all_tasks(router: str) -> None:
    pace = asyncio.run(asyncio.wait_for(ROUTERS[router](Load(clients=7, each=33)), timeout=20))
    assert pace.rate > 0
