"""How fast weights mix.

Consensus x⁺ = W x forgets the disagreement at the rate of the second largest eigenvalue modulus
(SLEM): the modulus left when one eigenvalue 1, the agreement itself, is set aside. From it follow
the spectral gap and the number of mixings that shrink a disagreement to a millionth.

Up to `DENSE` nodes all eigenvalues are computed. Above, weights that look the same from every
node have theirs by a Fourier transform (`symmetry`). For others a Krylov method looks for the
largest moduli, which it finds fast but where these crowd together just below 1, as on a long path.
There W − σ I is factorised instead, which is cheap on just these graphs, and the eigenvalues
nearest to σ ≈ 1 are taken, provided that a Gershgorin bound confirms that no larger modulus lies
elsewhere. A figure that cannot be confirmed is refused, not guessed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from p2pdo.errors import ConfigError, MissingExtra
from p2pdo.graphs.lanczos import lanczos
from p2pdo.graphs.schedules import Cycle
from p2pdo.graphs.symmetry import by_symmetry
from p2pdo.graphs.weights import Stochastic, Weights, is_symmetric, stochastic
from p2pdo.types import Array

DENSE = 1000  # nodes
ROUNDING = 1e-12
TARGET = 1e-6
SHIFT = 1e-9  # beside 1, so that the factorised matrix is not singular
BASIS = 40  # Krylov vectors
RESTARTS = 60
LOOSE = 1e-6  # residual at which a Krylov eigenvalue counts as found
CLEAR = 1e-3  # a gap large enough to be seen at that residual


@dataclass(frozen=True, slots=True)
class Spectrum:
    """What the eigenvalues say.

    Attributes:
        slem: second largest eigenvalue modulus; a disagreement shrinks by it in every mixing.
        gap: 1 − slem.
        iterations_to_1e6: mixings until a disagreement is a millionth; None if it never is.
    """

    slem: float
    gap: float
    iterations_to_1e6: int | None


def spectrum(weights: Weights) -> Spectrum:
    """The mixing figures of these weights; of links that are active at random, of the mean.

    Raises:
        MissingExtra: more than `DENSE` nodes, and scipy is not installed.
        ConfigError: more than `DENSE` nodes, and their eigenvalues cannot be told apart.
    """
    if isinstance(weights, Cycle):
        return _of_cycle(weights)
    slem = _slem(weights)
    return Spectrum(slem, 1.0 - slem, _iterations(slem))


def _of_cycle(weights: Cycle) -> Spectrum:
    """The figures per iteration of what a whole period does."""
    period = len(weights.phases)
    whole = 0.0 if weights.n == 1 else _second(_product(weights))
    whole = 0.0 if whole <= LOOSE**2 else whole  # eigenvalues 0 of a defective matrix come so near
    iterations = _iterations(whole)
    slem = whole ** (1 / period)
    mixings = None if iterations is None else period * max(1, iterations)
    return Spectrum(slem, 1.0 - slem, mixings)


def _product(weights: Cycle) -> Array:
    """The eigenvalues of W(T − 1) … W(0)."""
    if weights.n > DENSE:
        alike = by_symmetry(weights.phases)
        if alike is None:
            raise _inseparable(weights)
        return alike
    product = np.eye(weights.n)
    for phase in weights.phases:
        product = phase.apply(product)
    return np.linalg.eigvals(product)


def modes(weights: Weights) -> Array:
    """The eigenvalues of W beside one eigenvalue 1, or, above `DENSE` nodes, a bound of them.

    The bound is Gershgorin's 2 minᵢ wᵢᵢ − 1, below which no real part lies.
    """
    if weights.n > DENSE:
        return np.array([2 * weights.data[weights.rows == weights.indices].min() - 1])
    dense = weights.to_dense()
    return _others(np.linalg.eigvalsh(dense) if is_symmetric(weights) else np.linalg.eigvals(dense))


def _iterations(slem: float) -> int | None:
    if slem >= 1 - ROUNDING:
        return None
    return 0 if slem <= ROUNDING else math.ceil(math.log(TARGET) / math.log(slem))


def _slem(weights: Weights) -> float:
    if weights.n == 1:
        return 0.0
    symmetric = is_symmetric(weights)
    if weights.n <= DENSE:
        dense = weights.to_dense()
        return _second(np.linalg.eigvalsh(dense) if symmetric else np.linalg.eigvals(dense))
    return _sparse(weights, symmetric)


def _second(eigenvalues: Array) -> float:
    """The largest modulus beside one eigenvalue 1."""
    return float(np.abs(_others(eigenvalues)).max())


def _others(eigenvalues: Array) -> Array:
    """All but the eigenvalue of agreement, 1."""
    return np.delete(eigenvalues, np.abs(eigenvalues - 1).argmin())


def _sparse(weights: Weights, symmetric: bool) -> float:
    alike = by_symmetry([weights])
    if alike is not None:
        return _second(alike)
    linalg, W = _scipy(weights)
    slem = lanczos(weights) if _is_averaging(weights, symmetric) else _arnoldi(linalg, W)
    return _beside_one(weights, linalg, W, symmetric) if slem is None else slem


def _is_averaging(weights: Weights, symmetric: bool) -> bool:
    return symmetric and bool(stochastic(weights))


def _arnoldi(linalg: Any, W: Any) -> float | None:
    """Clearly not 1, or None: too near to it to be told by this method, or not found."""
    try:
        slem = _second(linalg.eigs(W, k=2, which="LM", tol=LOOSE, **_options(W)))
    except linalg.ArpackNoConvergence:
        return None
    return slem if abs(slem - 1) > CLEAR else None


def _beside_one(weights: Weights, linalg: Any, W: Any, symmetric: bool) -> float:
    """Of those nearest to 1, provided that no other modulus is larger."""
    eigenvalues = linalg.eigsh if symmetric else linalg.eigs
    try:
        nearest = eigenvalues(W, k=6, sigma=1 + SHIFT, **_options(W))
    except linalg.ArpackNoConvergence:
        raise _inseparable(weights) from None
    slem = _second(nearest)
    if slem < _bound_elsewhere(weights, nearest, symmetric) - ROUNDING:
        raise _inseparable(weights)
    return slem


def _options(W: Any) -> dict[str, Any]:
    start = np.random.default_rng(0).standard_normal(W.shape[0])  # equal weights, equal figures
    return {"v0": start, "ncv": BASIS, "maxiter": RESTARTS, "return_eigenvectors": False}


def _bound_elsewhere(weights: Weights, nearest: Array, symmetric: bool) -> float:
    """No eigenvalue further from 1 than the `nearest` ones has a larger modulus than this.

    For weights ≥ 0 whose rows or columns sum to one, all eigenvalues lie in the disc
    |λ − δ| ≤ 1 − δ with δ = minᵢ wᵢᵢ (Gershgorin), whence |λ|² ≤ 1 − |λ − 1|² δ / (1 − δ). Real
    ones (symmetric weights) lie between 2δ − 1 and those found.
    """
    delta = float(weights.data[weights.rows == weights.indices].min())
    if stochastic(weights) is Stochastic.NONE or weights.data.min() < 0 or delta >= 1:
        return math.inf
    if symmetric:
        return abs(2 * delta - 1)
    radius = float(np.abs(nearest - 1).max())
    return math.sqrt(max(0.0, 1 - radius**2 * delta / (1 - delta)))


def _inseparable(weights: Weights) -> ConfigError:
    return ConfigError(
        f"the eigenvalues of these weights on {weights.n} nodes cannot be told apart",
        hint=f"look at the same topology with at most {DENSE} nodes",
    )


def _scipy(weights: Weights) -> tuple[Any, Any]:
    try:
        from scipy.sparse import csr_array, linalg
    except ImportError:
        raise MissingExtra(f"the spectrum of {weights.n} nodes", "scipy", "data") from None
    parts = (weights.data, weights.indices, weights.indptr)
    return linalg, csr_array(parts, shape=(weights.n, weights.n)).tocsc()
