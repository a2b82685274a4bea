"""Consensus on a directed ring: every node hears one neighbour and tells another.

Uniform weights on a directed ring are doubly stochastic, so all nodes reach the plain mean of
their starts, and no node ever hears of more than one other.
"""

import numpy as np

import p2pdo


def main() -> None:
    nodes, dimension = 6, 10
    starts = np.random.default_rng(0).normal(size=(nodes, dimension))
    result = p2pdo.run(
        "quadratic",
        algorithm="consensus",
        nodes=nodes,
        topology="directed-ring",
        start=starts,
        rounds=400,
        on="inprocess",
    )
    error = max(np.abs(x - starts.mean(axis=0)).max() for x in result.states)
    print(f"largest distance of any node from the mean after 400 iterations: {error:.1e}")
    assert error < 1e-12


if __name__ == "__main__":
    main()
