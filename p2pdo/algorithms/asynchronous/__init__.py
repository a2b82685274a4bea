"""The asynchronous methods: one file a family, each a pure wake-up and receipt; see `contract`."""

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm, Channel, Parts
from p2pdo.algorithms.asynchronous.newest import AsynchronousConsensus, BroadcastGossip
from p2pdo.algorithms.asynchronous.pairwise import AdPsgd, RandomizedGossip
from p2pdo.algorithms.asynchronous.push_sum import RobustPushSum
from p2pdo.algorithms.asynchronous.table import ASYNCHRONOUS
from p2pdo.algorithms.asynchronous.tracking import AsySonata

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
