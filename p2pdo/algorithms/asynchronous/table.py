"""The asynchronous algorithms by name; `algorithms.catalogue` looks here too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.asynchronous.newest import AsynchronousConsensus, BroadcastGossip
from p2pdo.algorithms.asynchronous.pairwise import AdPsgd, RandomizedGossip
from p2pdo.algorithms.asynchronous.push_sum import RobustPushSum
from p2pdo.algorithms.asynchronous.tracking import AsySonata

ASYNCHRONOUS: Mapping[str, type[AsynchronousAlgorithm[Any]]] = {
    "asynchronous-consensus": AsynchronousConsensus,
    "broadcast-gossip": BroadcastGossip,
    "randomized-gossip": RandomizedGossip,
    "robust-push-sum": RobustPushSum,
    "ad-psgd": AdPsgd,
    "asy-sonata": AsySonata,
}
