"""Where each node begins: a kind, an array, or a file of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from p2pdo.api.requests import Request
from p2pdo.effects import freeze
from p2pdo.errors import ConfigError
from p2pdo.problems.many import Many
from p2pdo.protocol.plan import STARTS, make_starts, start_at, start_of
from p2pdo.types import Array, States


def starts_for(request: Request, algorithm: str, problems: Sequence[Any], dtype: str) -> States:
    """A frozen x of shape (d,) per node; stacked problems have them as rows of one array."""
    d = int(problems[0].dimension)
    start = request.start
    if start is None or (isinstance(start, str) and start in STARTS):
        if isinstance(problems, Many):
            kind = start_of(start, algorithm)
            return make_starts(kind, len(problems), d, request.seed, dtype)
        return [
            start_at(problem, start, algorithm, node=node, seed=request.seed, dtype=dtype)
            for node, problem in enumerate(problems)
        ]
    x = np.asarray(_load_start(Path(start)) if isinstance(start, str) else start)
    if x.shape == (d,):
        x = np.broadcast_to(x, (len(problems), d))
    if x.shape != (len(problems), d) or x.dtype.kind not in "fiu" or not np.isfinite(x).all():
        raise ConfigError(
            f"the start is {x.dtype} {x.shape}; expected finite numbers of shape ({d},) "
            f"or ({len(problems)}, {d})",
            hint="or use --start zeros or --start normal",
        )
    if isinstance(problems, Many):
        return freeze(np.array(x, dtype))
    return [freeze(np.array(row, dtype)) for row in x]


def _load_start(path: Path) -> Array:
    """The array in a .npy file, or under `x` (or alone) in a .safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        if path.suffix == ".npy":
            return np.asarray(np.load(path, allow_pickle=False))
        tensors = load_file(path)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(
            f"cannot read the start {path}: {error}",
            hint=f"{', '.join(map(repr, STARTS))}, or a .npy or .safetensors file "
            "of shape (d,) or (N, d)",
        ) from None
    except SafetensorError as error:
        raise ConfigError(
            f"{path} is no safetensors file: {error}", hint="save it with safetensors or np.save"
        ) from None
    if "x" in tensors:
        return np.asarray(tensors["x"])
    if len(tensors) == 1:
        return np.asarray(next(iter(tensors.values())))
    raise ConfigError(
        f"{path} has no array 'x', but {', '.join(sorted(tensors))}", hint="save it under 'x'"
    )
