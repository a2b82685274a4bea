"""Consensus: six nodes in a ring, each with a number, agree on the mean by asking neighbours only.

After 50 iterations every node has what 50 products with the mixing matrix would give it.
"""

import numpy as np

import p2pdo
from p2pdo.graphs.topologies import ring
from p2pdo.graphs.weights import default
from p2pdo.reporting.curves import Curve, plot_curves

NODES, ITERATIONS = 6, 50


def main() -> None:
    starts = np.random.default_rng(0).integers(0, 11, size=(NODES, 1)).astype(float)
    seen: list[list[float]] = []  # every node's value, iteration by iteration
    result = p2pdo.run(
        "quadratic",
        algorithm="consensus",
        parameters={"problem.dimension": 1},
        nodes=NODES,
        topology="ring",
        start=starts,
        rounds=ITERATIONS,
        observe_every=1,
        observe=lambda _, states: seen.append([float(x[0]) for x in states]),
        on="inprocess",
    )
    W = default(ring(NODES)).to_dense()
    expected = np.linalg.matrix_power(W, ITERATIONS) @ starts
    error = np.abs(np.stack(result.states) - expected).max()
    print(f"distance from W^{ITERATIONS} x0: {error:.1e}; the mean is {starts.mean():.4f}")
    assert error <= 1e-12

    values, iterations = np.array(seen), np.arange(ITERATIONS + 1)
    curves = [Curve(f"node {i}", iterations, values[:, [i]]) for i in range(NODES)]
    plot_curves(curves, "consensus.png", "Consensus", "each node's value · ring of 6")


if __name__ == "__main__":
    main()
