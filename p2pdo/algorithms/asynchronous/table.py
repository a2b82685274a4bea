"""The asynchronous algorithms by name; `algorithms.catalogue` looks here too."""

from __future__ import annotations

from typing import Any

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.on_use import ByName

ASYNCHRONOUS: ByName[type[AsynchronousAlgorithm[Any]]] = ByName(
    "p2pdo.algorithms.asynchronous",
    {
        "asynchronous-consensus": "AsynchronousConsensus",
        "broadcast-gossip": "BroadcastGossip",
        "randomized-gossip": "RandomizedGossip",
        "robust-push-sum": "RobustPushSum",
        "ad-psgd": "AdPsgd",
        "asy-sonata": "AsySonata",
    },
)
