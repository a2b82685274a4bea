"""What the costs check when they are made, so that nothing is checked while they run.

Arrays are taken as float32 or float64 and kept as such; whole numbers and lists become floats.
What is kept owns its data in row order and is read-only: nobody can change a cost under a run,
and its bits do not depend on the memory layout that it was made from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from p2pdo.errors import ConfigError
from p2pdo.problems.base import Problem
from p2pdo.types import Array

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def real_array(
    name: str, value: object, axes: tuple[str, ...], dtype: np.dtype[np.floating] | None = None
) -> Array:
    """`value` as a finite read-only array with these axes, and of `dtype` where one is given.

    Raises:
        ConfigError: it is no such array; says what was got and what is expected.
    """
    array = _floating(name, value, dtype)
    if array.ndim != len(axes) or array.size == 0:
        raise ConfigError(
            f"{name} must have shape {_shape_text(axes)}, got {array.shape}",
            hint=f"{' and '.join(axes)} must be at least 1",
        )
    if not np.isfinite(array).all():
        where = ", ".join(str(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise ConfigError(
            f"{name} must be finite, got {array[~np.isfinite(array)][0]} at [{where}]",
            hint="drop or impute missing values before making the problem",
        )
    return _owned(array)


def data_array(name: str, value: object) -> Array:
    """`value` as a read-only array of samples: numbers of any kind, rows first, floats finite.

    A PyTorch tensor is copied to the host; anything else that NumPy can read will do.

    Raises:
        ConfigError: it is no such array; says what was got and what is expected.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{name} is no array: {error}", hint="give an array or tensor of float32, float64, ints"
        ) from None
    if array.ndim == 0 or array.size == 0 or array.dtype.kind not in "fiub":
        raise ConfigError(
            f"{name} must hold numbers, one row a sample, got {array.dtype} {array.shape}",
            hint=f"give {name} the shape (samples, …)",
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0])
        raise ConfigError(
            f"{name} must be finite, but its row {row} is not",
            hint="drop or impute missing values before making the problem",
        )
    return _owned(array)


def _floating(name: str, value: object, dtype: np.dtype[np.floating] | None) -> Array:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ConfigError(
            f"{name} is no array: {error}", hint="give rows of equal length"
        ) from None
    is_unsized = array.dtype.kind in "iub" or (
        array.dtype.kind == "f" and not hasattr(value, "dtype")
    )
    if is_unsized:
        return array.astype(dtype or np.float64)
    kept = array.dtype.newbyteorder("=")
    if kept not in FLOATS:
        raise ConfigError(
            f"{name} must be float32 or float64, got {array.dtype}",
            hint=f"convert it: {name}.astype(np.float64)",
        )
    if dtype is not None and kept != dtype:
        raise ConfigError(
            f"{name} must be {dtype} as the other arrays are, got {kept}",
            hint=f"convert it: {name}.astype(np.{dtype})",
        )
    return array


def _shape_text(axes: tuple[str, ...]) -> str:
    return f"({axes[0]},)" if len(axes) == 1 else f"({', '.join(axes)})"


def _owned(array: Array) -> Array:
    """The array itself where it is already what we keep, else a copy."""
    flags = array.flags
    if flags.owndata and flags.c_contiguous and array.dtype.isnative and not flags.writeable:
        return array
    copy = np.array(array, dtype=array.dtype.newbyteorder("="), order="C", copy=True)
    copy.flags.writeable = False
    return copy


def same_length(name: str, got: int, other: str, expected: int) -> None:
    if got != expected:
        raise ConfigError(
            f"{name} has {got} entries where {other} has {expected}",
            hint=f"{name} must have one entry for each of {other}",
        )


def whole_number(name: str, value: object, least: int = 1) -> int:
    """`value` as an int of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(
            f"{name} must be a whole number of at least {least}, got {value!r}",
            hint=f"for example {name}={max(least, 10)}",
        )
    return int(value)


def nonnegative(name: str, value: object) -> float:
    """`value` as a finite float of at least zero."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and value >= 0:  # type: ignore[arg-type,operator]
        return float(value)  # type: ignore[arg-type]
    raise ConfigError(
        f"{name} must be a number of at least 0, got {value!r}", hint=f"for example {name}=0.01"
    )


def positive_penalty(rho: float) -> float:
    """The ρ of a proximal map, refused where it is not positive."""
    if not (math.isfinite(rho) and rho > 0):
        raise ConfigError(
            f"a proximal map needs rho > 0, got {rho}", hint="give the method a positive rho"
        )
    return rho


def positive_penalties(rho: Array | float) -> Array | float:
    """The same for many nodes: one ρ for all, or one each."""
    positive_penalty(float(np.min(rho)))
    return rho


def common_dimension(problems: Sequence[Problem]) -> int:
    """The one d of all these problems; a network's costs share their variable."""
    if not problems:
        raise ConfigError("got no problems", hint="give the list of all nodes' problems")
    first = problems[0].dimension
    for i, problem in enumerate(problems):
        if problem.dimension != first:
            raise ConfigError(
                f"problem {i} has dimension {problem.dimension} where problem 0 has {first}",
                hint="all nodes decide on one x: give every node the same features",
            )
    return first


def require_signs(b: Array) -> None:
    others = np.unique(b[np.abs(b) != 1])
    if len(others):
        raise ConfigError(
            f"labels b must be +1 or −1, got {others[0]:g}",
            hint="for labels 0 and 1 give 2 * b - 1",
        )


def require_strongly_convex(convexity: float) -> None:
    """Refuses to look for the one minimiser of f(x) − yᵀx where there may be none."""
    if not convexity > 0:
        raise ConfigError(
            "the cost is not strongly convex (μ = 0): its conjugate has no gradient",
            hint="penalise it, for example l2=0.01, or take a method that asks for gradients",
        )


class _Samples(Protocol):
    """A cost of rows of A (rows, d) and b (rows,), a share of `samples`; penalised by l2."""

    @property
    def A(self) -> Array: ...  # noqa: N802 - the field's letter
    @property
    def b(self) -> Array: ...
    @property
    def samples(self) -> int: ...
    @property
    def l2(self) -> float: ...


def keep_samples(cost: _Samples) -> None:
    """Checks them, and keeps in the frozen cost what was made of them.

    Raises:
        ConfigError: shapes that do not fit, fewer samples than rows, or a negative penalty.
    """
    A = real_array("A", cost.A, ("rows", "d"))
    b = real_array("b", cost.b, ("rows",), A.dtype)
    same_length("b", len(b), "the rows of A", len(A))
    object.__setattr__(cost, "A", A)
    object.__setattr__(cost, "b", b)
    object.__setattr__(cost, "samples", whole_number("samples", cost.samples, least=len(b)))
    object.__setattr__(cost, "l2", nonnegative("l2", cost.l2))
