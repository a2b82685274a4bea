"""Costs whose node keeps a secret, so that what it sends can be hidden from its neighbours.

    PrivateLogistic(A, b, samples, l2, secret=fresh_secret())

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

import numpy as np

from p2pdo.effects import Here
from p2pdo.errors import ConfigError
from p2pdo.problems.logistic import Logistic

DIGITS = 64


def fresh_secret() -> str:
    """256 bits from the operating system, as hexadecimal digits: for one node and one run."""
    return secrets.token_hex(DIGITS // 2)


def generator(secret: str, here: Here) -> np.random.Generator:
    """What nobody without the secret can draw: of this node and iteration."""
    text = f"{secret}:{here.seed}:{here.node}:{here.iteration}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    return np.random.Generator(np.random.PCG64(seed))


@dataclass(frozen=True, eq=False)
class PrivateLogistic(Logistic):
    """`Logistic` with a secret of 64 hexadecimal digits; see `fresh_secret`.

    It does not tell its smoothness, which is a number of its data.
    """

    secret: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.secret) != DIGITS or not set(self.secret) <= set("0123456789abcdef"):
            raise ConfigError(
                f"a secret has {DIGITS} hexadecimal digits, got {len(self.secret)} characters",
                hint="secret=p2pdo.problems.fresh_secret(), drawn at the node, for one run",
            )

    def __repr__(self) -> str:
        return f"PrivateLogistic(rows={len(self.b)}, dimension={self.dimension}, secret=…)"

    def private_rng(self, here: Here) -> np.random.Generator:
        return generator(self.secret, here)

    @property
    def smoothness(self) -> float:
        raise AttributeError("a private cost tells no number of its data")
