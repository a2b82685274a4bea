"""The few words that every room shares.

Identities are types of their own, so that a workload's id passed as a node's name is a type
error. A node has a *name* (`NodeId`, what the network knows) and, within one workload, an *index*
(its place in the workload's node list, what an algorithm sees). Names are never parsed for
meaning.

A `Value` is what nodes exchange: an array, a scalar, or a nested tuple or dict of them.

Nothing is imported for them: a worker process that meets no array starts without numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NewType, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    import numpy as np
    import numpy.typing as npt

NodeId = NewType("NodeId", str)
WorkloadId = NewType("WorkloadId", str)
TaskId = NewType("TaskId", str)

Array: TypeAlias = "npt.NDArray[Any]"

States: TypeAlias = "Sequence[Array] | Array"
"""Every node's x of shape (d,), in node order: a sequence, or the rows of one array (N, d)."""
Scalar: TypeAlias = "float | int | bool | np.generic"
Value: TypeAlias = "Array | Scalar | tuple[Value, ...] | dict[str, Value]"

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
"""Plain data: what JSON can say. Parameters travel as this, never as code."""
