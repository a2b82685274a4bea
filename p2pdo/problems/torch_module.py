"""A PyTorch module as a function of one flat vector.

    x           the trainable parameters, one after the other in the order of `parameters()`
    frozen      parameters with requires_grad = False are no part of x and stay as they were made
    buffers     are no part of x either, are never exchanged, and keep nothing from call to call

A gradient has to be a function of x and the mini-batch alone, or a run could not go on from a
state, nor have equal bits anywhere. So each call starts from the buffers as they were made and
throws away what it did to them. Running statistics (batch norm) lose nothing by that: training
does not read them, and `copy_at` takes them anew from the node's samples. A module whose training
does read what it wrote into a buffer, as spectral norm's power iteration, is refused.

PyTorch computes on one thread here, because the bits of a product change with their number.
Calls may come from several threads: each borrows a copy of the module of its own.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from p2pdo.errors import ConfigError, MissingExtra, WorkloadFailed
from p2pdo.problems.torch_random import seeded
from p2pdo.types import Array

FROZEN_SEED = 0
"""Of what is not a part of x: equal on all nodes, whatever a run's seed is."""

Loss = Callable[[Any], Any]
"""The loss, a tensor, that a module in its mode has on some samples."""


class Mode(Enum):
    """How a module computes."""

    TRAINING = "training"  # as module.train() makes it: dropout drops
    WHOLE = "whole"  # dropout does not drop, batch norm uses the samples at hand


@dataclass(frozen=True, eq=False, slots=True)
class _Copy:
    """A module that one caller at a time uses; its trainable parameters are views of `flat`."""

    module: Any
    flat: Any
    trainable: list[Any]
    buffers: list[Any]

    @classmethod
    def of(cls, module: Any) -> _Copy:
        import torch

        copied = copy.deepcopy(module)
        trainable = _trainable(copied)
        flat = torch.cat([p.detach().reshape(-1) for p in trainable])
        for p, part in zip(trainable, flat.split([p.numel() for p in trainable]), strict=True):
            p.data = part.view(p.shape)
        return cls(copied, flat, trainable, list(copied.buffers()))


class Network:
    """A module, as its factory makes it, as a function of x of shape (d,)."""

    def __init__(self, factory: Callable[[], Any], device: str) -> None:
        """Makes the module once.

        Raises:
            MissingExtra: PyTorch is not installed.
            ConfigError: the factory fails, or there is nothing in its module to train.
        """
        _require_torch()
        _require_device(device)
        self._factory = factory
        self._device = device
        self._module = _make(factory, FROZEN_SEED, device)
        trainable = _trainable(self._module)
        _require_one_kind(trainable)
        self.dtype = np.dtype(str(trainable[0].dtype).removeprefix("torch."))
        self.dimension: int = sum(p.numel() for p in trainable)
        self._buffers = list(self._module.buffers())
        self._draws = device != "cpu"  # until `probe` knows
        self._idle: dict[Mode, deque[_Copy]] = {mode: deque() for mode in Mode}

    def initial(self, seed: int) -> Array:
        """The trainable parameters that the factory makes under this seed, shape (d,)."""
        made = _trainable(_make(self._factory, seed, self._device))
        return _to_host(made, self.dtype)

    def tensor(self, array: Array) -> Any:
        """The array on the device, in memory of PyTorch's own; floats in the parameters' dtype."""
        import torch

        dtype = _dtype(self.dtype) if array.dtype.kind == "f" else None
        return torch.tensor(array, dtype=dtype, device=self._device)

    def value(self, x: Array, mode: Mode, seed: int, loss: Loss) -> float:
        """The loss at x: NaN or infinite where it is."""
        return float(self.outputs(x, mode, seed, loss))

    def outputs(self, x: Array, mode: Mode, seed: int, forward: Callable[[Any], Any]) -> Any:
        """What `forward` makes of the module at x, without a graph for gradients."""
        import torch

        with self._borrowed(x, mode) as copied, torch.no_grad(), self._seeded(seed):
            return forward(copied.module)

    def gradient(self, x: Array, mode: Mode, seed: int, loss: Loss) -> Array:
        """The gradient of the loss at x, in the dtype of x; zero for what it does not depend on.

        Raises:
            WorkloadFailed: the loss is not finite.
        """
        import torch

        with self._borrowed(x, mode) as copied:
            with torch.enable_grad(), self._seeded(seed):
                told = loss(copied.module)
            _require_finite(told)
            slopes = torch.autograd.grad(told, copied.trainable, materialize_grads=True)
        return _to_host(slopes, x.dtype)

    def copy_at(self, x: Array, forward: Callable[[Any], Any]) -> Any:
        """A module of the caller's own with x in it, in evaluation mode.

        `forward` passes the node's samples through: its running statistics are of those.
        """
        import torch

        _limit_threads()
        copied = _Copy.of(self._module)
        self._load(copied, x)
        module = copy.deepcopy(copied.module)  # whose parameters are no views of one another
        norms = _set_mode(module, Mode.WHOLE)
        if norms:
            momenta = [norm.momentum for norm in norms]
            for norm in norms:
                norm.momentum = 1.0
            with torch.no_grad(), seeded(FROZEN_SEED, self._device):
                forward(module)
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
        return module.eval()

    def probe(self, loss: Loss) -> None:
        """Tries the loss once as training will.

        Raises:
            ConfigError: it fails, is no scalar, or training reads what it wrote into a buffer.
        """
        import torch

        module = copy.deepcopy(self._module)
        _set_mode(module, Mode.TRAINING)
        with torch.enable_grad(), seeded(FROZEN_SEED, self._device):
            before = torch.get_rng_state()
            try:
                told = loss(module)
            except Exception as error:
                raise ConfigError(
                    f"the model or its loss fails on the samples: {type(error).__name__}: {error}",
                    hint="try loss(model()(inputs[:2]), targets[:2]) by itself",
                ) from error
            self._draws |= not torch.equal(before, torch.get_rng_state())
        _require_scalar(told)
        self._require_idle_buffers(module)

    def _require_idle_buffers(self, used: Any) -> None:
        import torch

        statistics = {id(b) for norm in _norms(used) for b in norm.buffers(recurse=False)}
        made = dict(self._module.named_buffers())
        for name, buffer in used.named_buffers():
            if id(buffer) not in statistics and not torch.equal(buffer, made[name]):
                raise ConfigError(
                    f"training changes the buffer '{name}' of the model, and reads it again",
                    hint="a gradient must be a function of x and the mini-batch: leave that part "
                    "out of the model, or freeze it with train() that keeps it in eval()",
                )

    @contextmanager
    def _borrowed(self, x: Array, mode: Mode) -> Iterator[_Copy]:
        """A copy of the module with x in it, which nobody else uses meanwhile."""
        _limit_threads()
        try:
            copied = self._idle[mode].pop()
        except IndexError:
            copied = _Copy.of(self._module)
            _set_mode(copied.module, mode)
        self._load(copied, x)
        yield copied
        self._idle[mode].append(copied)

    def _load(self, copied: _Copy, x: Array) -> None:
        import torch

        if x.shape != (self.dimension,):
            raise ConfigError(
                f"x has shape {x.shape}, but the model has {self.dimension} trainable parameters",
                hint=f"give an x of shape ({self.dimension},)",
            )
        with torch.no_grad():
            copied.flat.copy_(torch.tensor(x))
            for buffer, made in zip(copied.buffers, self._buffers, strict=True):
                buffer.copy_(made)

    def _seeded(self, seed: int) -> Any:
        return seeded(seed, self._device) if self._draws else nullcontext()


def _require_torch() -> None:
    try:
        import torch  # noqa: F401 - whether it is there
    except ImportError:
        raise MissingExtra("a PyTorch problem", "torch", "torch") from None


def _require_device(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"there is no device '{device}': {reason}", hint="use device='cpu'"
        ) from error


def _limit_threads() -> None:
    """PyTorch keeps the number per thread, so each that computes has to say it."""
    import torch

    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def _make(factory: Callable[[], Any], seed: int, device: str) -> Any:
    import torch

    _limit_threads()
    with seeded(seed, device):
        try:
            module = factory()
        except Exception as error:
            raise ConfigError(
                f"the model's factory failed: {type(error).__name__}: {error}",
                hint="it is called without arguments and returns a torch.nn.Module",
            ) from error
    if not isinstance(module, torch.nn.Module):
        raise ConfigError(
            f"the model's factory returned {type(module).__name__}, not a torch.nn.Module",
            hint="give a function or class that makes the module: model=Net, not model=Net()",
        )
    return module.to(device)


def _trainable(module: Any) -> list[Any]:
    return [p for p in module.parameters() if p.requires_grad]


def _require_one_kind(trainable: list[Any]) -> None:
    from torch.nn.parameter import is_lazy

    if not trainable:
        raise ConfigError(
            "the model has no trainable parameter: there is nothing to agree on",
            hint="leave requires_grad True for what is to be trained",
        )
    if any(is_lazy(p) for p in trainable):
        raise ConfigError(
            "the model has lazy parameters, whose number nobody knows yet",
            hint="give its layers their sizes: Linear(64, 10) and not LazyLinear(10)",
        )
    kinds = {str(p.dtype).removeprefix("torch.") for p in trainable}
    if len(kinds) > 1 or not kinds <= {"float32", "float64"}:
        raise ConfigError(
            f"the model's trainable parameters are {', '.join(sorted(kinds))}",
            hint="make them all float32 or all float64: module.float() or module.double()",
        )


def _require_scalar(told: Any) -> None:
    import torch

    if not (isinstance(told, torch.Tensor) and told.numel() == 1 and told.is_floating_point()):
        what = f"a tensor of shape {tuple(told.shape)}" if hasattr(told, "shape") else repr(told)
        raise ConfigError(
            f"the loss is {what}, not one real number",
            hint="return the samples' mean, as torch.nn.functional.cross_entropy does",
        )


def _require_finite(told: Any) -> None:
    import torch

    if not torch.isfinite(told).all():
        raise WorkloadFailed(
            f"the loss is not finite: {float(told.detach())}",
            hint="a smaller step size (--set step_size=…), or look at the samples and the loss",
        )


def _norms(module: Any) -> list[Any]:
    """The layers that keep running statistics."""
    from torch.nn.modules.batchnorm import _NormBase

    return [m for m in module.modules() if isinstance(m, _NormBase) and m.track_running_stats]


def _set_mode(module: Any, mode: Mode) -> list[Any]:
    """Sets the mode; returns the layers that take statistics in it.

    A module may keep a part of itself in evaluation whatever it is told, as a frozen backbone does.
    """
    module.train()
    norms = [norm for norm in _norms(module) if norm.training]
    if mode is Mode.WHOLE:
        module.eval()
        for norm in norms:
            norm.train()
    return norms


def _to_host(tensors: Any, dtype: np.dtype[Any]) -> Array:
    """The tensors one after the other, as an array that owns its data."""
    import torch

    flat = torch.cat([t.detach().reshape(-1) for t in tensors])
    return np.array(flat.cpu().numpy(), dtype=dtype)


def _dtype(dtype: np.dtype[Any]) -> Any:
    import torch

    return getattr(torch, dtype.name)
