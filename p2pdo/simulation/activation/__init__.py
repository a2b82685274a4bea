"""Activation: who is at work when, for runs without common rounds. Pure, seeded, without a clock.

A schedule yields ticks without end, in order of time: which nodes wake, or which edges are used.

    poisson.Nodes      each node by a clock of its own
    poisson.Edges      each edge by a clock of its own, as in pairwise gossip
    markov.Edges       in each round, the edges that are up: two-state chains
    cyclic.Nodes       one after another, or some at once
    reading            all of them as they are written: "poisson:rate=2"

    for tick in poisson.Nodes(rate=2.0).ticks(graph, seed=1):
        ...  # tick.time, tick.nodes

One seed is one schedule, whoever asks and however often.
"""

from p2pdo.simulation.activation.tick import Schedule, Tick

__all__ = ["Schedule", "Tick"]
