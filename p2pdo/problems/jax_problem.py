"""A JAX loss and the samples of one node, as a cost.

    f(x) = loss(params, data)        params: the pytree whose leaves are x, one after the other

The loss is pure, so there is little to rule: it gets the parameters, a batch, and where it has a
third parameter a key. A batch is a tuple of rows of the arrays in `data`, in their order.

    value, gradient     over all samples; the key is None: drop nothing
    classified(x)       over all samples, where `predict` says how
    at(here)            over the mini-batch of (seed, node, iteration), with a key of the same
    initial(seed)       what `init` makes under this seed: one start for all nodes
    params_at(x)        the pytree at x

JAX computes in float32, and in float64 only where `precision` says so; the setting holds for this
problem alone and not for the process. On a processor XLA computes on one thread, for the bits.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from p2pdo.effects import Here
from p2pdo.errors import ConfigError, MissingExtra, WorkloadFailed, did_you_mean
from p2pdo.problems.batches import checked_size, draw
from p2pdo.problems.checks import data_array, real_array, same_length
from p2pdo.types import Array

_PRECISIONS = ("float32", "float64")
_KEYED = 3  # parameters of a loss that takes a key
_SEEDS = 2**31  # what every precision can make a key from


@dataclass(frozen=True, eq=False)
class JaxProblem:
    """loss(params, data): a pure loss on one node's samples.

    Attributes:
        loss: loss(params, batch) or loss(params, batch, key), one real number: the rows' mean.
        init: init(key) makes the initial pytree; or the pytree itself, of float arrays.
        data: arrays of shape (samples, …), for example (inputs, targets).
        batch_size: rows of a mini-batch; None is all of them.
        precision: "float32" or "float64".
        leaves: of an `init` that is a pytree, when it crosses to another process.
        predict: predict(params, inputs), a score for each class of each row of data[0], shape
            (rows, classes); data[1] are then the numbers of the classes, and `classified` counts.

    Raises:
        MissingExtra: JAX is not installed.
        ConfigError: the loss, the pytree and the samples do not fit; says what and what to do.
    """

    loss: Callable[..., Any]
    init: Any
    data: tuple[Array, ...]
    batch_size: int | None = None
    precision: str = "float32"
    leaves: tuple[Array, ...] = ()
    predict: Callable[..., Any] | None = None
    _shape: _Shape = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _require_jax()
        if self.precision not in _PRECISIONS:
            raise ConfigError(
                f"unknown precision '{self.precision}'",
                hint=did_you_mean(str(self.precision), list(_PRECISIONS)),
            )
        object.__setattr__(self, "data", _checked_data(self.data, self.dtype))
        checked_size(self.batch_size, self._samples)
        if not (callable(self.init) or self.leaves):
            self._take_apart()
        leaves, tree = self._made(0)
        object.__setattr__(self, "_shape", _Shape(tree, tuple(leaf.shape for leaf in leaves)))
        self._try_loss()
        if self.predict is not None:
            self._try_predict()

    @property
    def dimension(self) -> int:
        return sum(self._shape.sizes)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.precision)

    @property
    def is_quadratic(self) -> bool:
        return False

    @property
    def deterministic(self) -> bool:
        """Whether equal x give equal bits: an accelerator adds up in any order."""
        import jax

        return str(jax.default_backend()) == "cpu"

    def value(self, x: Array) -> float:
        return self._evaluated(x, self.data, None)[0]

    def gradient(self, x: Array) -> Array:
        return _finite(*self._evaluated(x, self.data, None))

    def classified(self, x: Array) -> tuple[int, int]:
        """Return how many samples score highest for their class, and how many there are.

        None of none without `predict`.
        """
        if self.predict is None:
            return 0, 0
        with _precision(self.precision):
            scores = np.asarray(self.predict(self.params_at(x), self.data[0]))
        return int(np.count_nonzero(scores.argmax(axis=1) == self.data[1])), self._samples

    def at(self, here: Here) -> JaxBatch:
        """The cost of this iteration's mini-batch."""
        size = checked_size(self.batch_size, self._samples)
        drawn = draw(here, self._samples, size)
        return JaxBatch(self, tuple(array[drawn.rows] for array in self.data), drawn.seed)

    def initial(self, seed: int) -> Array:
        """What `init` makes under this seed, or the given pytree; shape (d,)."""
        leaves, _ = self._made(seed)
        return np.concatenate([leaf.reshape(-1) for leaf in leaves])

    def params_at(self, x: Array) -> Any:
        """The pytree whose leaves are x."""
        import jax.numpy as jnp

        with _precision(self.precision):
            return _unflatten(jnp.asarray(self._own(x)), self._shape)

    def _evaluated(
        self, x: Array, batch: tuple[Array, ...], seed: int | None
    ) -> tuple[float, Array]:
        """The loss and its gradient at x, in the dtype of x."""
        import jax

        function, is_keyed = _compiled(self.loss, self._shape)
        with _precision(self.precision):
            key = jax.random.key(seed % _SEEDS) if is_keyed and seed is not None else None
            value, slope = function(self._own(x), batch, key)
            return float(value), np.array(slope, dtype=x.dtype)

    def _own(self, x: Array) -> Array:
        if x.shape != (self.dimension,):
            raise ConfigError(
                f"x has shape {x.shape}, but the pytree has {self.dimension} numbers",
                hint=f"give an x of shape ({self.dimension},)",
            )
        return x.astype(self.dtype)

    @property
    def _samples(self) -> int:
        return len(self.data[0])

    def _take_apart(self) -> None:
        """A given pytree, as arrays and as the same pytree of their numbers."""
        import jax

        leaves, tree = jax.tree.flatten(self.init)
        arrays = tuple(np.asarray(leaf) for leaf in leaves)
        object.__setattr__(self, "init", jax.tree.unflatten(tree, range(len(leaves))))
        object.__setattr__(self, "leaves", arrays)

    def _made(self, seed: int) -> tuple[list[Array], Any]:
        """The initial leaves and the structure they hang in."""
        import jax

        with _precision(self.precision):
            made = self._call_init(seed) if callable(self.init) else self.init
            leaves, tree = jax.tree.flatten(made)
        if self.leaves:
            leaves = [self.leaves[i] for i in leaves]
        if not leaves:
            raise ConfigError(
                "the initial pytree holds no array: there is nothing to agree on",
                hint="give init a function of a key, or a dict of arrays",
            )
        return [_checked_leaf(leaf, self.dtype) for leaf in leaves], tree

    def _call_init(self, seed: int) -> Any:
        import jax

        try:
            return self.init(jax.random.key(seed % _SEEDS))
        except Exception as error:
            raise ConfigError(
                f"init(key) failed: {type(error).__name__}: {error}",
                hint="it takes a jax.random key and returns the pytree of parameters",
            ) from error

    def _try_loss(self) -> None:
        """What does not fit is told now, and not by the first step."""
        import jax

        few = tuple(array[:2] for array in self.data)
        zeros = np.zeros(self.dimension, self.dtype)
        _, is_keyed = _compiled(self.loss, self._shape)
        try:
            with _precision(self.precision):
                key = jax.random.key(0) if is_keyed else None
                told = jax.eval_shape(_flat(self.loss, self._shape), zeros, few, key)
        except Exception as error:
            raise ConfigError(
                f"the loss fails on these samples: {type(error).__name__}: {error}",
                hint="try loss(params, batch) by itself with the first rows as the batch",
            ) from error
        if getattr(told, "shape", None) != () or told.dtype.kind != "f":
            raise ConfigError(
                f"the loss is {told}, not one real number", hint="return the rows' mean"
            )

    def _try_predict(self) -> None:
        """As with the loss."""
        import jax

        if len(self.data) < 2 or self.data[1].ndim != 1 or self.data[1].dtype.kind not in "iu":  # noqa: PLR2004
            raise ConfigError(
                "predict needs the classes' numbers to compare with: data[1] is none of that",
                hint="data=(inputs, labels) with whole numbers of shape (samples,)",
            )
        assert self.predict is not None, "asked before"
        params = self.params_at(np.zeros(self.dimension, self.dtype))
        try:
            with _precision(self.precision):
                told = jax.eval_shape(self.predict, params, self.data[0][:2])
        except Exception as error:
            raise ConfigError(
                f"predict fails on these samples: {type(error).__name__}: {error}",
                hint="it is called as predict(params, data[0])",
            ) from error
        if getattr(told, "ndim", None) != 2 or len(self.data[0][:2]) != told.shape[0]:  # noqa: PLR2004
            raise ConfigError(
                f"predict returns {told}, not a score for each class of each row",
                hint="return an array of shape (rows, classes)",
            )


@dataclass(frozen=True, eq=False)
class JaxBatch:
    """One mini-batch's cost, as training sees it: every call gets the same key."""

    _problem: JaxProblem
    _rows: tuple[Array, ...]
    _seed: int

    @property
    def dimension(self) -> int:
        return self._problem.dimension

    def value(self, x: Array) -> float:
        return self._problem._evaluated(x, self._rows, self._seed)[0]  # noqa: SLF001 - its own

    def gradient(self, x: Array) -> Array:
        return _finite(*self._problem._evaluated(x, self._rows, self._seed))  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a flat vector hangs together: the structure, and its leaves' shapes."""

    tree: Any
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> list[int]:
        return [int(np.prod(shape)) for shape in self.shapes]


def _flat(loss: Callable[..., Any], shape: _Shape) -> Callable[..., Any]:
    """The loss as a function of a flat vector."""
    is_keyed = _is_keyed(loss)

    def of_vector(x: Any, batch: Any, key: Any) -> Any:
        params = _unflatten(x, shape)
        return loss(params, batch, key) if is_keyed else loss(params, batch)

    return of_vector


@lru_cache(maxsize=64)
def _compiled(loss: Callable[..., Any], shape: _Shape) -> tuple[Callable[..., Any], bool]:
    """Value and gradient of a flat vector, compiled once for all nodes of a process."""
    import jax

    on_cpu = jax.default_backend() == "cpu"
    options = {"xla_cpu_multi_thread_eigen": False} if on_cpu else None
    function = jax.jit(jax.value_and_grad(_flat(loss, shape)), compiler_options=options)
    return function, _is_keyed(loss)


def _is_keyed(loss: Callable[..., Any]) -> bool:
    return len(inspect.signature(loss).parameters) >= _KEYED


def _unflatten(x: Any, shape: _Shape) -> Any:
    import jax
    import jax.numpy as jnp

    parts = jnp.split(x, np.cumsum(shape.sizes)[:-1].tolist())
    leaves = [part.reshape(own) for part, own in zip(parts, shape.shapes, strict=True)]
    return jax.tree.unflatten(shape.tree, leaves)


@contextmanager
def _precision(name: str) -> Iterator[None]:
    import jax

    with jax.enable_x64(name == "float64"):
        yield


def _finite(value: float, slope: Array) -> Array:
    if not np.isfinite(value):
        raise WorkloadFailed(
            f"the loss is not finite: {value}",
            hint="a smaller step size (--set step_size=…), or look at the samples and the loss",
        )
    return slope


def _checked_data(data: Any, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    if not (isinstance(data, tuple) and data):
        raise ConfigError(
            f"data must be a tuple of arrays, got {type(data).__name__}",
            hint="data=(inputs, targets), or data=(inputs,)",
        )
    arrays = tuple(data_array(f"data[{i}]", array) for i, array in enumerate(data))
    for i, array in enumerate(arrays):
        same_length(f"data[{i}]", len(array), "the rows of data[0]", len(arrays[0]))
    return tuple(a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays)


def _checked_leaf(leaf: Any, dtype: np.dtype[Any]) -> Array:
    array = np.asarray(leaf)
    if array.dtype.kind != "f":
        raise ConfigError(
            f"a leaf of the initial pytree is {array.dtype} {array.shape}",
            hint="parameters are float arrays; keep whole numbers and names in the loss",
        )
    flat = real_array("a leaf of the initial pytree", array.astype(dtype).reshape(-1), ("n",))
    return flat.reshape(array.shape)


def _require_jax() -> None:
    try:
        import jax  # noqa: F401 - whether it is there
    except ImportError:
        raise MissingExtra("a JAX problem", "jax", "jax") from None
