"""The asynchronous methods: one file a family, each a pure wake-up and receipt; see `contract`."""

from typing import TYPE_CHECKING

from p2pdo.on_use import attributes

if TYPE_CHECKING:
    from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm, Channel, Parts
    from p2pdo.algorithms.asynchronous.newest import AsynchronousConsensus, BroadcastGossip
    from p2pdo.algorithms.asynchronous.pairwise import AdPsgd, RandomizedGossip
    from p2pdo.algorithms.asynchronous.push_sum import RobustPushSum
    from p2pdo.algorithms.asynchronous.table import ASYNCHRONOUS
    from p2pdo.algorithms.asynchronous.tracking import AsySonata
else:
    __getattr__ = attributes(
        __name__,
        {
            "contract": "AsynchronousAlgorithm Channel Parts",
            "newest": "AsynchronousConsensus BroadcastGossip",
            "pairwise": "AdPsgd RandomizedGossip",
            "push_sum": "RobustPushSum",
            "table": "ASYNCHRONOUS",
            "tracking": "AsySonata",
        },
    )

__all__ = [
    "ASYNCHRONOUS",
    "AdPsgd",
    "AsySonata",
    "AsynchronousAlgorithm",
    "AsynchronousConsensus",
    "BroadcastGossip",
    "Channel",
    "Parts",
    "RandomizedGossip",
    "RobustPushSum",
]


def __dir__() -> list[str]:
    return __all__
