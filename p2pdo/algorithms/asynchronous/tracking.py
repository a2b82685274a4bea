"""Asynchronous gradient tracking: exact minimisation, each node at its own pace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm, Channel, Parts
from p2pdo.algorithms.base import Limit, Requires, Stochastic, require_positive
from p2pdo.effects import Here
from p2pdo.problems.base import Gradient
from p2pdo.types import Array


class SonataState(NamedTuple):
    x: Array  # shape (d,)
    z: Array  # tracker of the sum of the gradients, float64, shape (d,)
    arrived: Array  # what came to the tracker since the last wake-up, float64, shape (d,)
    g: Array  # local gradient that the tracker has seen, shape (d,)
    heard: tuple[Array, ...]  # the newest v of each in-neighbour


@dataclass(frozen=True)
class AsySonata(AsynchronousAlgorithm[SonataState]):
    """ASY-SONATA (Tian, Sun & Scutari 2020, Achieving linear convergence …, algorithm 2).

    v = x − γ z        x⁺ = Σⱼ wᵢⱼ vⱼ        z½ = z + Σⱼ (ρᵢⱼ − ρ̃ᵢⱼ) + ∇fᵢ(x⁺) − ∇fᵢ(x)
    z⁺ = aᵢᵢ z½        ρⱼᵢ⁺ = ρⱼᵢ + aⱼᵢ z½ for each out-neighbour j        z⁰ = ∇fᵢ(x⁰)

    One wake-up; vⱼ is the newest that came of j (x⁰ before any did), ρᵢⱼ the newest running sum and
    ρ̃ᵢⱼ the one taken into account before. W is row stochastic, A the senders' equal shares. Assumes
    a strongly connected graph, F strongly convex, fᵢ L-smooth, nobody too far behind or too long
    unheard (`--max-staleness`), γ small enough. Invariant: Σ z = Σ g, with what is under way.
    """

    step_size: float

    requires: ClassVar[Requires] = Requires(weights=Stochastic.ROW, oracle=Gradient)
    limit: ClassVar[Limit] = Limit.OPTIMUM
    channels: ClassVar[Mapping[str, Channel]] = {"v": Channel.LATEST, "z": Channel.RUNNING_SUM}

    def __post_init__(self) -> None:
        require_positive("step_size", self.step_size)

    @classmethod
    def safe_share(cls, modes: Array) -> float:  # noqa: ARG003 - old news have no modes
        return 1 / 16

    def init(self, x: Array, problem: Gradient, here: Here) -> SonataState:
        g = problem.gradient(x)
        z = g.astype(np.float64)
        return SonataState(x, z, np.zeros_like(z), g, (x,) * len(here.in_neighbors))

    def wake(
        self, s: SonataState, problem: Gradient, here: Here
    ) -> tuple[SonataState, Mapping[int, Parts]]:
        v = (s.x - self.step_size * s.z).astype(s.x.dtype)
        heard: dict[int, Any] = dict(zip(here.in_neighbors, s.heard, strict=True))
        x = here.row.weighted_sum({**heard, here.node: v})
        g = problem.gradient(x)  # type: ignore[arg-type]
        halfway = s.z + s.arrived + g - s.g
        z = halfway * (1.0 / (1 + len(here.out_neighbors)))
        state = SonataState(x, z, np.zeros_like(z), g, s.heard)  # type: ignore[arg-type]
        return state, {j: {"v": v, "z": z} for j in here.out_neighbors}

    def receive(
        self, s: SonataState, sender: int, parts: Parts, here: Here
    ) -> tuple[SonataState, None]:
        at = here.in_neighbors.index(sender)
        v: Any = parts["v"]
        heard = (*s.heard[:at], v, *s.heard[at + 1 :])
        return s._replace(arrived=s.arrived + parts["z"], heard=heard), None

    def mass(self, s: SonataState) -> Mapping[str, Array]:
        return {"z": s.z + s.arrived - s.g}
