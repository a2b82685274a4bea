"""PyTorch models: what of them is mixed, and what stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pdo.errors import P2pdoError, RemoteProtocolError
from p2pdo.participants.checkpoints import Checkpoints

torch = pytest.importorskip("torch")


def network(node: int, width: int = 4) -> Any:
    torch.manual_seed(node)
    model = torch.nn.Sequential(
        torch.nn.Linear(3, width), torch.nn.BatchNorm1d(width), torch.nn.Linear(width, 2)
    )
    with torch.no_grad():
        model[1].running_mean.fill_(float(node))
        model[1].num_batches_tracked.fill_(node)
    return model


def mean_of(arrays: list[Any]) -> Any:
    return np.mean([a.detach().float().numpy() for a in arrays], axis=0)


def test_parameters_frozen_too_and_buffers_of_floats_are_mixed_in_place(run: Any) -> None:
    models: dict[int, Any] = {}

    def train(me: Any) -> None:
        model = models[me.node] = network(me.node)
        model[0].weight.requires_grad_(False)
        first = model[2].weight
        for _ in me.rounds():
            me.mix_(model)
        assert model[2].weight is first

    run(train, topology="complete", rounds=1)
    expected = [network(i) for i in range(4)]
    for i, model in models.items():
        assert model[1].num_batches_tracked.item() == i, "it counts what happened here"
        assert not model[0].weight.requires_grad
        assert model[2].weight.requires_grad
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                mean = mean_of([other.state_dict()[name] for other in expected])
                np.testing.assert_allclose(tensor.numpy(), mean, rtol=1e-6, atol=1e-6)


def test_every_dtype_keeps_itself_and_mixes_as_numpy_would(run: Any) -> None:
    dtypes = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64]
    seen: list[Any] = []

    class Odd(torch.nn.Module):
        def __init__(self, node: int) -> None:
            super().__init__()
            for i, dtype in enumerate(dtypes):
                parameter = torch.nn.Parameter(torch.full((2,), node + 0.5).to(dtype))
                setattr(self, f"p{i}", parameter)
            self.register_buffer("mask", torch.tensor([True]))
            self.register_buffer("cache", torch.full((1,), float(node)), persistent=False)

    def train(me: Any) -> None:
        model = Odd(me.node)
        for _ in me.rounds():
            me.mix_(model)
        assert [p.dtype for p in model.parameters()] == dtypes
        for parameter in model.parameters():
            assert parameter.detach().to(torch.complex128).real.tolist() == [2.0, 2.0]
        assert model.cache.item() == me.node, "it is not in the state_dict"
        seen.append(model.mask.item())

    run(train, topology="complete", rounds=1)
    assert seen == [True] * 4


def test_a_shared_parameter_travels_once_and_a_view_is_written_through(run: Any) -> None:
    def train(me: Any) -> Any:
        model = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), torch.nn.ReLU())
        model.append(model[0])
        base = torch.full((2, 3), float(me.node))
        for _ in me.rounds():
            me.mix_(model)
            me.mix_({"columns": base.T[:2], "nested": {"all": np.zeros(1), "n": np.arange(3)}})
        assert base[:, 2].tolist() == [me.node] * 2
        return base[0, 0].item()

    outcomes, _ = run(train, topology="complete", rounds=1)
    assert [outcome.result for outcome in outcomes] == [1.5] * 4
    assert outcomes[0].bytes_sent == 3 * (4 * 4 + 4 * 4 + 8)


def test_models_that_differ_are_refused_by_the_parameter_s_name(run: Any) -> None:
    def wider(me: Any) -> None:
        model = network(me.node, width=5 if me.node == 2 else 4)
        for _ in me.rounds():
            me.mix_(model)

    def deeper(me: Any) -> None:
        model = network(me.node)
        if me.node == 2:
            model.append(torch.nn.Linear(2, 2))
        for _ in me.rounds():
            me.mix_(model)

    def halved(me: Any) -> None:
        model = network(me.node).half() if me.node == 2 else network(me.node)
        for _ in me.rounds():
            me.mix_(model)

    for function, says in (
        (wider, r"'0\.weight' is float32 \([45], 3\) here, float32 \([45], 3\) there"),
        (deeper, r"'3\.weight' is absent here|and absent there"),
        (halved, r"'0\.weight' is float(16|32) .* here, float(16|32) .* there"),
    ):
        with pytest.raises(RemoteProtocolError, match=says):
            run(function)


def test_mix_gives_tensors_back_for_tensors(run: Any) -> None:
    def train(me: Any) -> None:
        mine = {"t": torch.full((2,), float(me.node), requires_grad=True), "l": [1.0, np.ones(1)]}
        for _ in me.rounds():
            mixed = me.mix(mine)
        assert type(mixed["l"]) is list
        assert mixed["t"].dtype == torch.float32
        assert not mixed["t"].requires_grad
        assert mine["t"].tolist() == [me.node] * 2, "what was given stays"
        theirs = me.exchange(mine["t"])
        assert all(isinstance(value, np.ndarray) for value in theirs.values())

    run(train)


def test_what_cannot_be_mixed_in_place_is_refused(run: Any) -> None:
    frozen = np.zeros(2)
    frozen.flags.writeable = False
    for odd, says in (
        ({"x": frozen}, "'x': the array is read-only"),
        ({"n": np.arange(3)}, "nothing to mix"),
        (3.0, "cannot change float in place"),
        ({"a": {"b": [1.0]}}, r"cannot change list at 'a\.b' in place"),
    ):
        with pytest.raises(P2pdoError, match=says):
            run(lambda me, odd=odd: me.mix_(odd), nodes=2)


def step(model: Any, optimizer: Any, generator: Any) -> None:
    optimizer.zero_grad()
    model(torch.randn(8, 3, generator=generator)).square().mean().backward()
    optimizer.step()


def test_model_and_optimizer_come_back_with_every_bit(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    model = network(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, amsgrad=True)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    for _ in range(3):
        step(model, optimizer, generator)
        schedule.step()
    kept = Checkpoints(tmp_path, 1)
    kept.write(
        0,
        1,
        {
            "model": model,
            "optimizer": optimizer,
            "schedule": schedule,
            "rng": generator.get_state(),
            "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
            "empty": torch.zeros(0, 3),
        },
    )
    back, _ = kept.go_on_from(0)
    kept.close()
    assert back["half"].dtype == torch.bfloat16
    assert back["half"].tolist() == [1.5, -2.0]
    assert back["empty"].shape == (0, 3)
    other = network(1)
    other_optimizer = torch.optim.AdamW(other.parameters(), lr=1.0, amsgrad=True)
    other.load_state_dict(back["model"])
    other_optimizer.load_state_dict(back["optimizer"])
    other_generator = torch.Generator()
    other_generator.set_state(back["rng"])
    for _ in range(3):
        step(model, optimizer, generator)
        step(other, other_optimizer, other_generator)
    for ours, theirs in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert ours.numpy().tobytes() == theirs.numpy().tobytes()
    files = sorted(path.suffix for path in tmp_path.iterdir() if path.name != ".lock")
    assert files == [".json", ".safetensors"]


def test_training_goes_on_behind_a_failure_with_the_same_bits(run: Any) -> None:
    def train(me: Any, *, stop: int = -1) -> Any:
        model = network(me.node)
        optimizer = torch.optim.Adam(model.parameters())
        me.restore(model=model, optimizer=optimizer)
        for k in me.rounds():
            generator = torch.Generator().manual_seed(int(me.rng.integers(2**31)))
            step(model, optimizer, generator)
            me.mix_(model)
            me.checkpoint(model=model, optimizer=optimizer)
            if (me.node, k) == (1, stop):
                raise ValueError("power failure")
        return model[0].weight.flatten().tolist()

    whole, _ = run(train, rounds=8, checkpoints="a")
    with pytest.raises(P2pdoError, match="power failure"):
        run(train, rounds=8, checkpoints="b", parameters={"stop": 4})
    rest, _ = run(train, rounds=8, checkpoints="b")
    assert [o.result for o in rest] == [o.result for o in whole]
