"""The fastest symmetric weights of a graph, by convex optimisation.

    min ‖I − Σ wₗ (eᵢ − eⱼ)(eᵢ − eⱼ)ᵀ − 11ᵀ/n‖₂  over one weight wₗ for each link l = (i, j)

CVXPY and its solver are large, and a solver may take all the memory there is: it runs in a child
process, which is handed the links and prints the weights. Any w gives rows and columns that sum to
one, so what the solver's tolerance leaves over costs speed and never correctness.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import numpy as np

from p2pdo.errors import ConfigError, MissingExtra
from p2pdo.types import Array

MOST_NODES = 100
PATIENCE = 120.0  # seconds


def fastest(n: int, links: Array) -> Array:
    """One weight for each of the links, shape (m,).

    Raises:
        ConfigError: the solver found none.
        MissingExtra: CVXPY or SCS is not installed.
    """
    for package in ("cvxpy", "scs"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("fdla weights", package, "fdla")
    if not len(links):
        return np.zeros(0)
    asked = json.dumps({"nodes": n, "links": links.tolist()})
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "p2pdo.graphs.fastest"],
            input=asked,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        return np.array(json.loads(answer.stdout.splitlines()[-1]))
    except (subprocess.SubprocessError, ValueError, IndexError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise ConfigError(
            f"no fdla weights were found: {said[-1] if said else error}",
            hint="--weights laplacian, the best with one weight for all links",
        ) from None


def _solve(n: int, links: Array) -> Array:
    import cvxpy as cp

    w = cp.Variable(len(links))
    incidence = np.zeros((n, len(links)))
    incidence[links[:, 0], np.arange(len(links))] = 1
    incidence[links[:, 1], np.arange(len(links))] = -1
    mixed = np.eye(n) - incidence @ cp.diag(w) @ incidence.T - np.full((n, n), 1 / n)
    bound = cp.Variable()
    constraints = [mixed << bound * np.eye(n), mixed >> -bound * np.eye(n)]
    cp.Problem(cp.Minimize(bound), constraints).solve(solver=cp.SCS, eps=1e-7, max_iters=20_000)
    return np.asarray(w.value, dtype=np.float64)


def _main() -> None:
    asked = json.load(sys.stdin)
    found = _solve(asked["nodes"], np.array(asked["links"]))
    sys.stdout.write(json.dumps(found.tolist()) + "\n")


if __name__ == "__main__":
    _main()
