"""Codecs: vectors as few bytes. What is left out, or drawn, is told beside each.

    sent = codec.encode(v, rng)                # bytes; a pure function: equal draws, equal bytes
    Q(v) = codec.decode(sent, like=v)          # at the sender and at every receiver alike

A codec is named as "NAME" or "NAME:NUMBER":

    none                Q(v) = v
    fp16, bf16          16 bits an entry; fp16 beside a common power of two     contraction
    top-k:SHARE         the ⌈SHARE·d⌉ entries of largest modulus                contraction, δ ≥ k/d
    rand-k:SHARE        ⌈SHARE·d⌉ entries drawn at random                       contraction, δ = k/d
    sign                ‖v‖₁/d · sign(v), one bit an entry                      contraction, δ ≥ 1/d
    qsgd:LEVELS         ‖v‖ sign(v) ξ, ξ one of 0, 1/s, …, 1 so that E Q(v) = v      unbiased
    scaled-qsgd:LEVELS  the same divided by τ = 1 + min(d/s², √d/s)             contraction, δ = 1/τ
    max-qsgd:LEVELS     as qsgd, of max |v| in place of ‖v‖, in blocks of 512        unbiased

A contraction has E‖v − Q(v)‖² ≤ (1 − δ)‖v‖²: what error feedback needs. `base` says what a codec
is, `catalogue` finds one by its name, also those that are installed under `p2pdo.codecs`.

How many bytes are sent depends on the length and the dtype of v alone: a receiver knows it before,
and memory that is shared is laid out once.
"""

from typing import TYPE_CHECKING

from p2pdo.on_use import attributes

if TYPE_CHECKING:
    from p2pdo.codecs.base import Codec
    from p2pdo.codecs.catalogue import CODECS, codec
    from p2pdo.codecs.floats import BFloat16, Float16, Uncompressed
    from p2pdo.codecs.quantised import MaxQsgd, Qsgd, ScaledQsgd, ScaledSign
    from p2pdo.codecs.sparse import RandK, TopK
else:
    __getattr__ = attributes(
        __name__,
        {
            "base": "Codec",
            "catalogue": "CODECS codec",
            "floats": "BFloat16 Float16 Uncompressed",
            "quantised": "MaxQsgd Qsgd ScaledQsgd ScaledSign",
            "sparse": "RandK TopK",
        },
    )

__all__ = [
    "CODECS",
    "BFloat16",
    "Codec",
    "Float16",
    "MaxQsgd",
    "Qsgd",
    "RandK",
    "ScaledQsgd",
    "ScaledSign",
    "TopK",
    "Uncompressed",
    "codec",
]


def __dir__() -> list[str]:
    return __all__
