"""Averages on directed graphs whose links lose, double and reorder what is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm, Channel, Parts
from p2pdo.algorithms.base import Limit, Requires, Stochastic
from p2pdo.algorithms.directed import RatioState
from p2pdo.effects import Here
from p2pdo.problems.base import Problem
from p2pdo.types import Array


@dataclass(frozen=True)
class RobustPushSum(AsynchronousAlgorithm[RatioState]):
    """Robust push-sum by running sums (Hadjicostis, Vaidya & Domínguez-García 2016).

    wake      u⁺ = u / (1 + d),  w⁺ = w / (1 + d),  to each of d out-neighbours: u⁺ and w⁺
    receive   u⁺ = u + uⱼ,  w⁺ = w + wⱼ                       x = u / w        u⁰ = x⁰, w⁰ = 1

    What is sent are the sums σ of all u⁺ and w⁺ so far; the receiver takes their growth since the
    last one that it saw. Assumes a strongly connected graph on which every link works again and
    again. Limit: the plain mean of the starts. Invariants: Σ u and Σ w = n, with what is under way.
    """

    requires: ClassVar[Requires] = Requires(weights=Stochastic.NONE)
    limit: ClassVar[Limit] = Limit.MEAN
    channels: ClassVar[Mapping[str, Channel]] = {
        "u": Channel.RUNNING_SUM,
        "w": Channel.RUNNING_SUM,
    }

    def init(self, x: Array, problem: Problem, here: Here) -> RatioState:  # noqa: ARG002
        return RatioState(x, x.astype(np.float64), np.ones(1))

    def wake(
        self,
        s: RatioState,
        problem: Problem,  # noqa: ARG002
        here: Here,
    ) -> tuple[RatioState, Mapping[int, Parts]]:
        share = 1.0 / (1 + len(here.out_neighbors))
        u, w = s.u * share, s.w * share
        return RatioState(s.x, u, w), {j: {"u": u, "w": w} for j in here.out_neighbors}

    def receive(
        self,
        s: RatioState,
        sender: int,  # noqa: ARG002
        parts: Parts,
        here: Here,  # noqa: ARG002
    ) -> tuple[RatioState, None]:
        u, w = s.u + parts["u"], s.w + parts["w"]
        return RatioState((u / w).astype(s.x.dtype), u, w), None

    def mass(self, s: RatioState) -> Mapping[str, Array]:
        return {"u": s.u, "w": s.w}
