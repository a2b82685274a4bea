"""A PyTorch model and the samples of one node, as a cost.

    f(x) = loss(model_x(inputs), targets)        the mean over the node's samples

x holds the trainable parameters as one vector; `torch_module` says what becomes of frozen
parameters and of buffers. A node's cost is its own mean, whatever the number of its samples.

    value, gradient     over all samples: dropout off, batch norm with the statistics of them all
    classified(x)       of all samples, in the same mode: which have their target as largest output
    at(here)            over the mini-batch of (seed, node, iteration), as training sees it
    initial(seed)       the weights that the factory makes under this seed: one start for all nodes
    module_at(x)        the trained module, for evaluation, saving, serving

To cross to another process, `model` and `loss` must be what can be imported there: a function or
class at the top level of a file or module. In one process anything callable will do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from p2pdo.effects import Here
from p2pdo.problems.batches import checked_size, draw
from p2pdo.problems.checks import data_array, same_length
from p2pdo.problems.torch_module import Mode, Network
from p2pdo.types import Array

_WHOLE_SEED = 0  # of whatever draws although dropout is off


@dataclass(frozen=True, eq=False)
class TorchProblem:
    """loss(model_x(inputs), targets): a network's loss on one node's samples.

    Attributes:
        model: makes the `torch.nn.Module`: a class or a function, called without arguments. What
            it draws from PyTorch's generator is seeded; it must not draw from any other.
        loss: loss(outputs, targets), a scalar tensor: the mean over the rows it is given.
        inputs: array or tensor of shape (samples, …), what the module is called with.
        targets: array or tensor of shape (samples, …).
        batch_size: rows of a mini-batch; None is all of them.
        device: where PyTorch computes; states are copied to and from it.

    Floating inputs and targets are taken in the dtype of the parameters, float32 or float64.

    Raises:
        MissingExtra: PyTorch is not installed.
        ConfigError: the model, the loss and the samples do not fit; says what and what to do.
    """

    model: Callable[[], Any]
    loss: Callable[[Any, Any], Any]
    inputs: Array
    targets: Array
    batch_size: int | None = None
    device: str = "cpu"
    _network: Network = field(init=False, repr=False)
    _samples: tuple[Any, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        inputs, targets = data_array("inputs", self.inputs), data_array("targets", self.targets)
        same_length("targets", len(targets), "the rows of inputs", len(inputs))
        checked_size(self.batch_size, len(inputs))
        network = Network(self.model, self.device)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "targets", targets)
        object.__setattr__(self, "_network", network)
        object.__setattr__(self, "_samples", (network.tensor(inputs), network.tensor(targets)))
        few = min(2, self._size)
        network.probe(partial(self._loss, *(samples[:few] for samples in self._samples)))

    @property
    def dimension(self) -> int:
        return self._network.dimension

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._network.dtype

    @property
    def is_quadratic(self) -> bool:
        return False

    @property
    def deterministic(self) -> bool:
        """Whether equal x give equal bits: an accelerator adds up in any order."""
        return self.device == "cpu"

    def value(self, x: Array) -> float:
        return self._network.value(x, Mode.WHOLE, _WHOLE_SEED, self._whole)

    def gradient(self, x: Array) -> Array:
        return self._network.gradient(x, Mode.WHOLE, _WHOLE_SEED, self._whole)

    def classified(self, x: Array) -> tuple[int, int]:
        """Return how many samples have their target as their largest output, and how many are.

        None of none where targets are no numbers of classes, or there are no outputs per class.
        """
        inputs, targets = self._samples
        if self.targets.ndim != 1 or self.targets.dtype.kind not in "iu":
            return 0, 0
        outputs = self._network.outputs(x, Mode.WHOLE, _WHOLE_SEED, lambda module: module(inputs))
        if getattr(outputs, "ndim", 0) != 2:  # noqa: PLR2004 - rows and classes
            return 0, 0
        return int((outputs.argmax(dim=1) == targets).sum()), len(self.targets)

    def at(self, here: Here) -> TorchBatch:
        """The cost of this iteration's mini-batch."""
        drawn = draw(here, len(self.inputs), self._size)
        rows = self._network.tensor(drawn.rows)
        inputs, targets = (samples[rows] for samples in self._samples)
        return TorchBatch(self._network, partial(self._loss, inputs, targets), drawn.seed)

    def initial(self, seed: int) -> Array:
        """The factory's weights under this seed, shape (d,)."""
        return self._network.initial(seed)

    def module_at(self, x: Array) -> Any:
        """A new module with x in it, in evaluation mode; the caller's own.

        Running statistics, where the model keeps any, are those of this node's samples at x.
        """
        inputs, _ = self._samples
        return self._network.copy_at(x, lambda module: module(inputs))

    @property
    def _size(self) -> int:
        return checked_size(self.batch_size, len(self.inputs))

    def _whole(self, module: Any) -> Any:
        return self._loss(*self._samples, module)

    def _loss(self, inputs: Any, targets: Any, module: Any) -> Any:
        return self.loss(module(inputs), targets)


@dataclass(frozen=True, eq=False)
class TorchBatch:
    """One mini-batch's cost, as training sees it: every call drops the same units."""

    _network: Network
    _loss: Callable[[Any], Any]
    _seed: int

    @property
    def dimension(self) -> int:
        return self._network.dimension

    def value(self, x: Array) -> float:
        return self._network.value(x, Mode.TRAINING, self._seed, self._loss)

    def gradient(self, x: Array) -> Array:
        return self._network.gradient(x, Mode.TRAINING, self._seed, self._loss)


def accuracy(module: Any, inputs: Any, targets: Any) -> float:
    """The share of rows whose largest output is the target, from 0 to 1.

    `inputs` has shape (samples, …) and the module's dtype, `targets` shape (samples,); they are
    brought to the module's device.
    """
    import torch

    device = next((tensor.device for tensor in module.parameters()), None)
    with torch.no_grad():
        outputs = module(torch.as_tensor(inputs, device=device))
    return float((outputs.argmax(dim=-1).cpu() == torch.as_tensor(targets).cpu()).double().mean())
