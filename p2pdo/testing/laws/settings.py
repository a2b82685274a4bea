"""What a law is held on: networks with costs, and the states that a plan leads to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pdo.algorithms.base import Algorithm
from p2pdo.errors import ConfigError
from p2pdo.protocol.judging import Judge, Objective
from p2pdo.protocol.plan import Plan, make_start
from p2pdo.simulation.lockstep import advance_to, steppers_of
from p2pdo.simulation.stacked import require_stackable
from p2pdo.testing.laws.costs import COSTS, DIMENSION, costs_for
from p2pdo.testing.laws.dense import Dense, dense_of
from p2pdo.testing.laws.networks import Network, networks_for
from p2pdo.testing.outcomes import hold
from p2pdo.types import Array

SEED = 3
EXACT = 1e-12
KEPT = 1e-11


@dataclass(frozen=True)
class Setting:
    """One network with one cost."""

    network: Network
    cost: str

    def __str__(self) -> str:
        return f"on {self.network} with {self.cost} costs"

    def plan(self, algorithm: Algorithm[Any], rounds: int, dtype: str = "float64") -> Plan:
        network, graph = self.network, self.network.graph
        return Plan(
            algorithm,
            COSTS[self.cost](network.n).problems,
            graph,
            network.weights,
            [make_start("normal", DIMENSION, i, SEED, dtype) for i in range(network.n)],
            rounds,
            observe_every=max(rounds, 1),
            seed=SEED,
        )

    def dense(self, plan: Plan) -> Dense:
        """The plan in matrices, made from the edges and formulas."""
        return dense_of(plan, COSTS[self.cost](plan.nodes).formulas)


def settings(algorithm: Algorithm[Any]) -> list[Setting]:
    """Every network with a quadratic cost, the first also with the logistic."""
    networks, costs = networks_for(algorithm), costs_for(algorithm.requires.oracle)
    hold(bool(networks), "no network is allowed by what it requires")
    hold(bool(costs), f"no cost has the oracle {algorithm.requires.oracle.__name__}")
    return [
        *(Setting(network, costs[0]) for network in networks),
        *(Setting(networks[0], cost) for cost in costs[1:]),
    ]


def iterates(plan: Plan) -> Iterator[list[Any]]:
    """All nodes' states at every iteration boundary, 0 … rounds."""
    steppers = steppers_of(plan)
    for k in range(plan.rounds + 1):
        advance_to(steppers, k)
        yield [stepper.state for stepper in steppers]


def decisions(states: Sequence[Any]) -> Array:
    """X of shape (n, d)."""
    return np.stack([state.x for state in states])


def distance(X: Array, reference: Array) -> float:
    """The largest difference, relative where the reference is beyond one; infinite if not finite.

    An array without entries, the edges of a node alone, is no difference.
    """
    difference = np.abs(X - reference) / np.maximum(1, np.abs(reference))
    worst = float(difference.max(initial=0.0))
    return worst if np.isfinite(worst) else np.inf


def judge_of(plan: Plan) -> Judge:
    return Judge(Objective(plan.problems), plan.nodes, None)


def ignore(_judgement: object) -> None:
    pass


def can_stack(plan: Plan) -> bool:
    try:
        require_stackable(plan)
    except ConfigError:
        return False
    return True
