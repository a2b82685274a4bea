"""Costs whose node keeps a secret, so that what it sends can be hidden from its neighbours.

    PrivateLogistic(A, b, samples, l2, secret=fresh_secret())
    PrivateDistance(c, secret=fresh_secret())

The secret never leaves the node: a factory on the node itself draws it. Where one launcher makes
all problems, as in a local run, it has all data and all secrets too, and what a run shows there is
what privacy costs, not privacy.

A secret is for one run. Noise is a function of (secret, seed, node, iteration): two runs with one
secret and other parameters have the same noise, and their difference tells the gradients.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from p2pdo.effects import Here
from p2pdo.errors import ConfigError
from p2pdo.problems.distance import Distance
from p2pdo.problems.logistic import Logistic
from p2pdo.types import Array

DIGITS = 64


def fresh_secret() -> str:
    """256 bits from the operating system, as hexadecimal digits: for one node and one run."""
    return secrets.token_hex(DIGITS // 2)


def generator(secret: str, here: Here) -> np.random.Generator:
    """What nobody without the secret can draw: of this node and iteration."""
    text = f"{secret}:{here.seed}:{here.node}:{here.iteration}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    return np.random.Generator(np.random.PCG64(seed))


def require_secret(secret: str) -> None:
    """Refuses what is no secret.

    Raises:
        ConfigError: it has not 64 hexadecimal digits.
    """
    if len(secret) != DIGITS or not set(secret) <= set("0123456789abcdef"):
        raise ConfigError(
            f"a secret has {DIGITS} hexadecimal digits, got {len(secret)} characters",
            hint="secret=p2pdo.problems.fresh_secret(), drawn at the node, for one run",
        )


@dataclass(frozen=True, eq=False)
class PrivateLogistic(Logistic):
    """`Logistic` with a secret of 64 hexadecimal digits; see `fresh_secret`.

    It does not tell its smoothness, which is a number of its data.
    """

    secret: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_secret(self.secret)

    def __repr__(self) -> str:
        return f"PrivateLogistic(rows={len(self.b)}, dimension={self.dimension}, secret=…)"

    def private_rng(self, here: Here) -> np.random.Generator:
        return generator(self.secret, here)

    @property
    def smoothness(self) -> float:
        raise AttributeError("a private cost tells no number of its data")


@dataclass(frozen=True, eq=False)
class PrivateDistance(Distance):
    """`Distance` from the node's own numbers c, which it starts from, with a secret.

    Its constants are those of every such cost, and tell nothing of c.
    """

    starts_apart: ClassVar[bool] = True

    secret: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_secret(self.secret)

    def __repr__(self) -> str:
        return f"PrivateDistance(dimension={self.dimension}, secret=…)"

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.c.dtype

    def initial(self, seed: int) -> Array:  # noqa: ARG002 - it is no random one
        """The numbers c."""
        return self.c

    def private_rng(self, here: Here) -> np.random.Generator:
        return generator(self.secret, here)
