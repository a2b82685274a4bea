"""Measured delays: a matrix in a file, row = sender, column = receiver, in node order.

    pings.npy       an array of shape (N, N)
    pings.csv       N lines of N numbers, separated by commas; lines that begin with # are left out
    pings.json      a list of N lists of N numbers

The diagonal is not looked at.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from p2pdo.types import Array


@dataclass(frozen=True, eq=False)
class Measured:
    """Delays of a matrix in seconds, each drawn lognormal around its entry where sigma > 0."""

    matrix: Array
    sigma: float = 0.0

    def draw(self, rng: np.random.Generator, sender: int, receiver: int) -> float:
        delay = float(self.matrix[sender, receiver])
        return delay * float(np.exp(self.sigma * rng.standard_normal())) if self.sigma else delay


def read_matrix(path: Path) -> Array:
    """The numbers in the file, of shape (N, N).

    Raises:
        ValueError: it cannot be read, or is no square matrix of delays.
    """
    try:
        matrix = np.asarray(_read(path), np.float64)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, EOFError, RecursionError) as error:
        raise ValueError(f"{path} is no matrix: {error}") from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:  # noqa: PLR2004
        raise ValueError(f"{path} is no square matrix, but of shape {matrix.shape}")
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    if not (np.isfinite(off).all() and (off >= 0).all()):
        raise ValueError(f"{path} has delays that are negative or no numbers")
    return matrix


def _read(path: Path) -> object:
    if path.suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    if path.suffix == ".csv":
        return np.loadtxt(path.read_text(encoding="utf-8").splitlines(), delimiter=",", ndmin=2)
    raise ValueError("its name ends neither in .npy, .csv nor .json")
