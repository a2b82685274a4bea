"""PyTorch costs against NumPy and finite differences; what x holds, and what it does not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from p2pdo.effects import Here
from p2pdo.errors import ConfigError, MissingExtra, WorkloadFailed
from p2pdo.problems import Gradient, Startable, StochasticGradient, TorchProblem
from p2pdo.problems.batches import draw
from p2pdo.problems.torch_problem import accuracy
from p2pdo.types import Array

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional

RNG = np.random.default_rng(0)
INPUTS, LABELS = RNG.standard_normal((12, 3)), RNG.integers(0, 2, 12)
TARGETS = RNG.standard_normal((12, 1))


def linear() -> Any:
    return nn.Linear(3, 1).double()


def classifier() -> Any:
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)).double()


def normed() -> Any:
    layers = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)
    return nn.Sequential(*layers).double()


def dropping() -> Any:
    return nn.Sequential(nn.Linear(3, 20), nn.Dropout(0.5), nn.Linear(20, 2)).double()


def half_frozen() -> Any:
    module = classifier()
    module[0].requires_grad_(False)
    return module


def made(model: Callable[[], Any] = classifier, **changes: Any) -> TorchProblem:
    settings = {"loss": F.cross_entropy, "inputs": INPUTS, "targets": LABELS, "batch_size": 4}
    return TorchProblem(model, **{**settings, **changes})


def here(iteration: int = 0, node: int = 0, seed: int = 0) -> Here:
    return Here(iteration, node, (), (), seed)


def slopes(value: Callable[[Array], float], x: Array) -> Array:
    h = 1e-6
    return np.array([(value(x + h * e) - value(x - h * e)) / (2 * h) for e in np.eye(len(x))])


# ---- values and gradients ----


def test_least_squares_in_pytorch_is_least_squares_in_numpy() -> None:
    p = TorchProblem(linear, F.mse_loss, INPUTS, TARGETS)
    x = np.array([0.3, -0.2, 0.5, 0.1])  # the weights, then the bias
    rest = INPUTS @ x[:3] + x[3] - TARGETS[:, 0]
    assert p.value(x) == pytest.approx(np.mean(rest**2), rel=1e-14)
    expected = 2 * np.append(rest @ INPUTS, rest.sum()) / 12
    np.testing.assert_allclose(p.gradient(x), expected, rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("model", [classifier, normed, dropping, half_frozen])
def test_the_gradient_is_the_slope_of_the_value(model: Callable[[], Any]) -> None:
    p = made(model)
    x = p.initial(0)
    for cost in (p, p.at(here(3))):
        np.testing.assert_allclose(cost.gradient(x), slopes(cost.value, x), rtol=1e-5, atol=1e-8)


def test_it_is_a_gradient_a_stochastic_gradient_and_brings_a_start() -> None:
    p = made()
    assert all(isinstance(p, oracle) for oracle in (Gradient, StochasticGradient, Startable))
    assert p.dimension == 3 * 5 + 5 + 5 * 2 + 2
    assert p.deterministic


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_x_is_of_the_parameters_dtype_and_the_gradient_of_that_of_x(dtype: str) -> None:
    p = made(lambda: classifier().to(getattr(torch, dtype)))
    assert p.dtype == p.initial(0).dtype == dtype
    for other in (np.float32, np.float64):
        g = p.gradient(p.initial(0).astype(other))
        assert g.dtype == other
        assert g.flags.owndata


def test_what_the_loss_does_not_depend_on_has_a_gradient_of_zero() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, rows: Any) -> Any:
            return self.used(rows)

    p = made(Idle)
    assert not p.gradient(p.initial(0))[8:].any()


# ---- mini-batches ----


def test_a_mini_batch_is_a_function_of_seed_node_and_iteration() -> None:
    p, again = made(dropping), made(dropping)
    x = p.initial(0)
    places = [here(k, node, seed) for k in range(3) for node in range(3) for seed in range(2)]
    forth = [p.at(place).gradient(x).tobytes() for place in places]
    back = [again.at(place).gradient(x).tobytes() for place in reversed(places)]
    assert forth == back[::-1]
    assert len(set(forth)) == len(places), "and another one for each"


def test_an_algorithms_own_draws_change_no_mini_batch() -> None:
    p, place = made(), here(5)
    x = p.initial(0)
    before = p.at(place).gradient(x)
    place.rng.random(10)
    np.testing.assert_array_equal(p.at(place).gradient(x), before)


def test_a_mini_batch_is_the_cost_of_the_rows_that_it_draws() -> None:
    p, place = made(), here(4, node=2)
    rows = draw(place, samples=12, size=4).rows
    x = p.initial(0)
    only = made(inputs=INPUTS[rows], targets=LABELS[rows])
    np.testing.assert_allclose(p.at(place).gradient(x), only.gradient(x), rtol=1e-12)


def test_without_a_batch_size_every_step_sees_all_samples() -> None:
    p = made(batch_size=None)
    x = p.initial(0)
    np.testing.assert_array_equal(p.at(here(7)).gradient(x), p.gradient(x))


def test_dropout_leaves_pytorchs_own_generator_as_it_was() -> None:
    p = made(dropping)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    p.at(here()).gradient(p.initial(1))
    assert torch.equal(torch.rand(3), expected)


def test_threads_do_not_draw_each_others_numbers_nor_use_each_others_weights() -> None:
    p = made(dropping)
    starts = [p.initial(seed) for seed in range(6)]
    expected = [p.at(here(node=i)).gradient(x).tobytes() for i, x in enumerate(starts)]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(50):
            if p.at(here(node=i)).gradient(starts[i]).tobytes() != expected[i]:
                wrong.append(i)  # noqa: PERF401 - which of them, as it happens

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# ---- what is a part of x, and what is not ----


def test_equal_seeds_make_equal_starts_and_others_do_not() -> None:
    first, second = made(), made(inputs=-INPUTS)
    np.testing.assert_array_equal(first.initial(3), second.initial(3))
    assert not np.array_equal(first.initial(3), first.initial(4))


def test_frozen_parameters_are_no_part_of_x_and_stay_as_they_were_made() -> None:
    p = made(half_frozen)
    assert p.dimension == 5 * 2 + 2
    frozen = [p.module_at(p.initial(seed))[0].weight for seed in (0, 1)]
    assert torch.equal(*frozen)
    assert torch.equal(made(half_frozen).module_at(p.initial(0))[0].weight, frozen[0])


def test_batch_norm_keeps_nothing_from_call_to_call() -> None:
    p = made(normed)
    x = p.initial(0)
    first = p.value(x), p.at(here(2)).gradient(x).tobytes()
    for k in range(5):
        p.at(here(k)).gradient(x + k)
    assert (p.value(x), p.at(here(2)).gradient(x).tobytes()) == first


def test_the_module_at_x_has_the_running_statistics_of_the_nodes_samples() -> None:
    p = made(normed)
    x = p.initial(0)
    module = p.module_at(x)
    hidden = module[0](torch.tensor(INPUTS))
    torch.testing.assert_close(module[1].running_mean, hidden.mean(dim=0))
    torch.testing.assert_close(module[1].running_var, hidden.var(dim=0))
    assert (module.training, module[1].momentum) == (False, 0.1)


class Backbone(nn.Module):
    """Frozen, statistics included: it stays in evaluation whatever it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3).double().requires_grad_(requires_grad=False)
        self.norm.running_mean.fill_(5.0)
        self.head = nn.Linear(3, 2).double()

    def train(self, mode: bool = True) -> Any:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, rows: Any) -> Any:
        return self.head(self.norm(rows))


def test_frozen_statistics_stay_what_they_are() -> None:
    p = made(Backbone)
    x = p.initial(0)
    assert p.dimension == 3 * 2 + 2
    assert p.module_at(x).norm.running_mean.tolist() == [5.0] * 3
    whole = F.cross_entropy(p.module_at(x)(torch.tensor(INPUTS)), torch.tensor(LABELS))
    assert p.value(x) == pytest.approx(float(whole.detach()), rel=1e-14)


def test_the_module_at_x_can_be_saved_parameter_by_parameter() -> None:
    p = made()
    storages = [q.untyped_storage().nbytes() for q in p.module_at(p.initial(0)).parameters()]
    assert storages == [8 * 15, 8 * 5, 8 * 10, 8 * 2]


def test_the_module_at_x_is_the_callers_own_and_holds_x() -> None:
    p = made()
    x = np.arange(float(p.dimension))
    module = p.module_at(x)
    held = torch.cat([parameter.reshape(-1) for parameter in module.parameters()])
    assert held.tolist() == x.tolist()
    with torch.no_grad():
        module[0].weight.zero_()
    assert p.module_at(x)[0].weight.any()


def test_spectral_norm_is_refused_because_training_reads_what_it_wrote() -> None:
    def model() -> Any:
        return nn.Sequential(torch.nn.utils.spectral_norm(nn.Linear(3, 2)))

    with pytest.raises(ConfigError, match="training changes the buffer") as caught:
        made(model)
    assert "freeze it" in str(caught.value.hint)


# ---- mistakes ----


def nothing_to_train() -> Any:
    return classifier().requires_grad_(requires_grad=False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": lambda: 3}, "returned int, not a torch.nn.Module"),
        ({"model": lambda: 1 / 0}, "factory failed: ZeroDivisionError"),
        ({"model": nothing_to_train}, "no trainable parameter"),
        ({"model": lambda: nn.LazyLinear(2)}, "lazy parameters"),
        ({"model": lambda: nn.Linear(3, 2).half()}, "parameters are float16"),
        ({"model": lambda: nn.Linear(4, 2)}, "fails on the samples: RuntimeError"),
        ({"loss": lambda outputs, targets: outputs}, r"the loss is a tensor of shape \(2, 2\)"),
        ({"loss": lambda outputs, targets: 1.0}, "the loss is 1.0, not one real number"),
        ({"targets": LABELS[:3]}, "targets has 3 entries where the rows of inputs has 12"),
        ({"inputs": np.full((12, 3), np.nan)}, "inputs must be finite, but its row 0 is not"),
        ({"inputs": np.array(["a"] * 12)}, "inputs must hold numbers"),
        ({"batch_size": 13}, "batch_size is 13, but this node has 12 samples"),
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"model": normed, "batch_size": 1}, "Expected more than 1 value per channel"),
        ({"device": "nowhere"}, "there is no device 'nowhere'"),
    ],
)
def test_what_does_not_fit_is_told_when_it_is_made(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        made(**changes)
    assert caught.value.hint


def test_an_x_of_another_length_is_told() -> None:
    with pytest.raises(ConfigError, match=r"x has shape \(3,\), but the model has 32"):
        made().gradient(np.zeros(3))


def test_a_loss_that_is_not_a_number_is_told_by_the_gradient_and_shown_by_the_value() -> None:
    p = TorchProblem(linear, F.mse_loss, INPUTS, TARGETS)
    x = np.full(4, 1e200)
    assert p.value(x) == np.inf
    with pytest.raises(WorkloadFailed, match="the loss is not finite: inf") as caught:
        p.gradient(x)
    assert "step_size" in str(caught.value.hint)


def test_without_pytorch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match="a PyTorch problem needs torch") as caught:
        TorchProblem(linear, len, INPUTS, TARGETS)
    assert "p2pdo[torch]" in str(caught.value.hint)


def test_accuracy_is_the_share_of_rows_whose_largest_output_is_the_target() -> None:
    outputs = [[2.0, 1.0], [0.0, 3.0], [1.0, 0.0], [5.0, 4.0]]
    assert accuracy(nn.Identity(), outputs, [0, 1, 1, 0]) == 0.75
