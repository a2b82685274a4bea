"""On a machine with a GPU of CUDA: participants, a cost, and a GPU for each rank.

Whoever has one runs these by `make test-all`, in an environment whose PyTorch is one for CUDA;
elsewhere they are skipped, and say why.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.node.workers.settings import find_gpus
from p2pdo.problems import TorchProblem
from p2pdo.problems.torch_problem import accuracy

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.full,
    pytest.mark.e2e,
    pytest.mark.skipif(
        not torch.cuda.is_available(),
        reason="no GPU that this PyTorch can use: torch.cuda.is_available() is false",
    ),
]

NODES = 3
HERE = Path(__file__).parent


def network() -> Any:
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Linear(8, 3)
    )


def test_models_and_tensors_on_a_gpu_are_mixed_as_on_the_processor() -> None:
    """mix_ writes to the GPU in place, mix gives back what is there, exchange arrays."""

    def on(device: str) -> Any:
        def train(me: Any) -> Any:
            draws = torch.Generator().manual_seed(me.node)
            model = network().to(device)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.copy_(torch.randn(parameter.shape, generator=draws))
            first = model[0].weight
            value = torch.full((2,), float(me.node), dtype=torch.bfloat16, device=device)
            for _ in me.rounds():
                me.mix_(model)
                value = me.mix(value)
                heard = me.exchange({"x": value})
            assert model[0].weight is first
            assert all(isinstance(other["x"], np.ndarray) for other in heard.values())
            tensors = [*model.parameters(), value]
            assert {tensor.device.type for tensor in tensors} == {device}
            assert value.dtype is torch.bfloat16
            return [t.detach().float().cpu().flatten().tolist() for t in tensors]

        return train

    async def results(device: str) -> Any:
        async with p2pdo.local(NODES) as net:
            run = await net.submit(p2pdo.participant(on(device)), rounds=5)
            return (await run.result()).results

    here, there = asyncio.run(results("cpu")), asyncio.run(results("cuda"))
    assert here == there, "the mean is taken on the host, with its bits"


def test_a_checkpoint_comes_back_to_the_gpu(tmp_path: Path) -> None:
    def train(me: Any) -> Any:
        model = network().to("cuda")
        optimizer = torch.optim.Adam(model.parameters())
        me.restore(model=model, optimizer=optimizer)
        for _ in me.rounds():
            optimizer.zero_grad()
            model(torch.ones(4, 4, device="cuda")).square().mean().backward()
            optimizer.step()
            me.mix_(model)
            me.checkpoint(model=model, optimizer=optimizer)
        kept = [*model.parameters(), *(s["exp_avg"] for s in optimizer.state.values())]
        assert {tensor.device.type for tensor in kept} == {"cuda"}
        return me.round

    async def twice() -> list[Any]:
        found = []
        for rounds in (2, 4):
            async with p2pdo.local(NODES, state=tmp_path) as net:
                run = await net.submit(p2pdo.participant(train), rounds=rounds, checkpoints="mine")
                found.append(len((await run.result()).metrics))
        return found

    assert asyncio.run(twice()) == [2, 2], "the second run had two rounds left"


def problems(device: str) -> list[TorchProblem]:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(NODES, 40, 4))
    labels = (inputs[:, :, 0] > 0).astype(int)
    loss = torch.nn.functional.cross_entropy
    return [
        TorchProblem(small, loss, inputs[i], labels[i], batch_size=16, device=device)
        for i in range(NODES)
    ]


def small() -> Any:
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))


def test_a_cost_on_a_gpu_is_that_of_the_processor() -> None:
    here, there = problems("cpu"), problems("cuda")
    x = here[0].initial(0)
    np.testing.assert_array_equal(there[0].initial(0), x)
    np.testing.assert_allclose(there[0].value(x), here[0].value(x), rtol=1e-5)
    np.testing.assert_allclose(there[0].gradient(x), here[0].gradient(x), rtol=1e-3, atol=1e-6)
    assert not there[0].deterministic


def test_a_run_on_a_gpu_learns_what_one_on_the_processor_learns() -> None:
    how: dict[str, Any] = {"algorithm": "gradient-tracking", "rounds": 300, "nodes": NODES}
    test = np.random.default_rng(1).normal(size=(500, 4)).astype(np.float32)
    labels = torch.tensor((test[:, 0] > 0).astype(int))
    for device in ("cpu", "cuda"):
        costs = problems(device)
        result = p2pdo.run(costs, parameters={"step_size": 0.1}, on="inprocess", **how)
        for cost, x in zip(costs, result.states, strict=True):
            assert accuracy(cost.module_at(x), test, labels) > 0.9


def test_each_rank_sees_one_gpu(tmp_path: Path) -> None:
    ranks = 2
    config = tmp_path / "p2pdo.toml"
    config.write_text(
        f'[node]\npython_path = ["{HERE}"]\n[executors.ranks]\npath = "cuda_site:Ranks"\n'
        f"processes = {ranks}\n"
    )

    async def use() -> tuple[list[str], Any]:
        async with p2pdo.local(1, config=config) as net, net.driver() as tasks:
            result = await tasks.send_and_wait("compute", str(tmp_path), to="node-0", deadline=120)
            return await find_gpus(), result

    gpus, result = asyncio.run(use())
    assert result.is_ok, result.error
    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(ranks)]
    assert [one["visible"] for one in told] == [gpus[rank % len(gpus)] for rank in range(ranks)]
    assert [one["devices"] for one in told] == [1] * ranks
    assert [one["total"] for one in told] == [499500.0 + rank for rank in range(ranks)]
