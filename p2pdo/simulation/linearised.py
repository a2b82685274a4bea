"""The network's iteration as a matrix, formed by running the method's own steps.

With quadratic costs, an iteration of most methods turns all nodes' states, written one below the
other as z, into M z + b. M is formed by one iteration of all nodes on unit states: a state's
arrays get one more axis, a column for each unit vector, so that a single iteration gives the whole
matrix. With other costs the Hessians at the optimum take the quadratics' place, and M is what an
iteration does to small deviations there.

    z⁺ = M z + b        z^{k+1} − z^k = M^{k−1} (z² − z¹)

M also acts on states that no run comes to: a tracker whose mean is not that of the gradients, say,
which M keeps for ever. What runs can come to is the smallest subspace that has z² − z¹ for every
start and every linear term of the costs, and that M does not lead out of; M is restricted to it.
Its spectral radius there is the rate: the factor by which the distance to the limit shrinks in an
iteration, in the long run, from almost every start. At one or more the method does not converge.
Rounding adds directions that no run has, where the last ones that runs have are short; so only
modes count that z² − z¹ has a part in.

What is formed is held against steps on random states. A method whose step is not linear, or not the
same in every iteration, has no such matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from p2pdo.errors import P2pdoError
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.stepper import Stepper, quiet
from p2pdo.simulation.lockstep import advance_to
from p2pdo.types import Array

NEGLIGIBLE = 1e-9
"""The part of a unit vector below which a direction is rounding."""

NO_PART = 1e-10
"""The part of all changes below which a mode's is rounding."""

TRIED = 12
"""Iterations that a matrix is held against; a coin with both faces shows them in so many."""

TELLABLE = 1e-7
"""What a rate must be below one by: where eigenvalues meet, rounding moves them as far."""

_FIRST = 1  # iteration 0 may differ


@dataclass(frozen=True, eq=False)
class Linearised:
    """One iteration of all nodes, restricted to what runs can come to.

    Attributes:
        matrix: M there, shape (r, r).
        basis: of that subspace in z, orthonormal columns, shape (n, r).
        layout: node i's arrays in z, by their shapes, at index i; x is the first.
        changes: z² − z¹ there, for every start and linear term, shape (r, columns).
    """

    matrix: Array
    basis: Array
    layout: Sequence[Sequence[tuple[int, ...]]]
    changes: Array

    @property
    def rate(self) -> float:
        """The spectral radius, of the modes that the changes have a part in."""
        values, modes = np.linalg.eig(self.matrix)
        if not len(values):
            return 0.0
        try:
            parts = np.linalg.norm(np.linalg.solve(modes, self.changes), axis=1)
        except np.linalg.LinAlgError:  # modes that coincide: none can be left out
            return float(np.abs(values).max())
        return float(np.abs(values[parts > NO_PART * np.linalg.norm(self.changes)]).max())


def linearise(plan: Plan, hessians: Sequence[Array], largest: int) -> Linearised | None:
    """The plan's iteration with node i's Hessian of shape (d, d) at index i.

    None where the method is not linear, or all states together have more than `largest` entries.
    """
    try:
        with quiet():
            return _linearise(plan, hessians, largest)
    except (P2pdoError, np.linalg.LinAlgError):  # a step that cannot take what it is tried with
        return None


def _linearise(plan: Plan, hessians: Sequence[Array], largest: int) -> Linearised | None:
    d, nodes = len(hessians[0]), plan.nodes
    nothing = np.zeros((nodes, d))
    layout = _layout(_steppers(plan, hessians, nothing, nothing))
    if layout is None:
        return None
    n = sum(_size(shape) for shapes in layout for shape in shapes)
    if n > largest:
        return None
    step = _step_of(plan, hessians, layout)
    M = step(np.eye(n), _FIRST)
    if M is None or not _is_linear(step, M):
        return None
    changes = _first_changes(plan, hessians, layout)
    if changes is None:
        return None
    basis = _reachable(M, changes)
    return Linearised(basis.T @ M @ basis, basis, layout, basis.T @ changes)


# ---- steps on columns ----


class _Curved:
    """½ xᵀH x − cᵀx, for x of shape (d,) or with columns, (d, C)."""

    def __init__(self, H: Array, c: Array) -> None:
        self.dimension = len(H)
        self._H = H
        self._c = c

    def value(self, x: Array) -> float:
        return float(np.sum(x * (self._H @ x / 2 - self._c)))

    def gradient(self, x: Array) -> Array:
        return np.asarray(self._H @ x - self._c)

    def hessian(self, x: Array) -> Array:  # noqa: ARG002 - the same everywhere
        return self._H

    def dual_gradient(self, y: Array) -> Array:
        return np.linalg.solve(self._H, self._c + y)

    def prox(self, v: Array, rho: float) -> Array:
        return np.linalg.solve(self._H + rho * np.eye(len(self._H)), self._c + rho * v)


def _steppers(
    plan: Plan, hessians: Sequence[Array], starts: Array, linear_terms: Array
) -> list[Stepper[Any]]:
    """All nodes on quadratics; row i of the arrays is node i's, of shape (d,) or (d, C)."""
    return [
        Stepper(plan.algorithm, _Curved(H, c), plan.place(i), np.array(x), plan.seed)
        for i, (H, c, x) in enumerate(zip(hessians, linear_terms, starts, strict=True))
    ]


def _layout(steppers: Sequence[Stepper[Any]]) -> list[list[tuple[int, ...]]] | None:
    """The shapes of each node's arrays; None where a state has something else."""
    states = [list(stepper.state) for stepper in steppers]
    if not all(isinstance(a, np.ndarray) and a.dtype == np.float64 for s in states for a in s):
        return None
    return [[a.shape for a in state] for state in states]


def _step_of(
    plan: Plan, hessians: Sequence[Array], layout: Sequence[Sequence[tuple[int, ...]]]
) -> Callable[[Array, int], Array | None]:
    """A function of Z, whose columns are states of the network, and k: Z one iteration later."""

    def step(Z: Array, iteration: int) -> Array | None:
        columns = Z.shape[1]
        nothing = np.zeros((plan.nodes, len(hessians[0]), columns))
        steppers = _steppers(plan, hessians, nothing, nothing)
        if _layout(steppers) != [[(*s, columns) for s in shapes] for shapes in layout]:
            return None
        end = 0
        for stepper, shapes in zip(steppers, layout, strict=True):
            parts = []
            for shape in shapes:
                begin, end = end, end + _size(shape)
                parts.append(np.array(Z[begin:end]).reshape(*shape, columns))
            stepper.state, stepper.iteration = type(stepper.state)(*parts), iteration
        advance_to(steppers, iteration + 1)
        return _stacked(steppers, columns)

    return step


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def _stacked(steppers: Sequence[Stepper[Any]], columns: int) -> Array:
    """All nodes' states one below the other, shape (n, columns)."""
    return np.concatenate(
        [np.reshape(a, (-1, columns)) for stepper in steppers for a in stepper.state]
    )


def _is_linear(step: Callable[[Array, int], Array | None], M: Array) -> bool:
    """Whether steps on random states are those of M, in every iteration that is tried."""
    Z = np.random.default_rng(0).standard_normal((len(M), 2))
    Z = np.c_[Z, np.zeros(len(M))]  # zero stays zero
    expected = M @ Z
    scale = max(1.0, float(np.abs(expected).max()))
    for iteration in range(_FIRST, _FIRST + TRIED):
        found = step(Z, iteration)
        if found is None or not np.abs(found - expected).max() <= NEGLIGIBLE * scale:
            return False
    return True


# ---- what runs can come to ----


def _first_changes(
    plan: Plan, hessians: Sequence[Array], layout: Sequence[Sequence[tuple[int, ...]]]
) -> Array | None:
    """Columns that span z² − z¹ for every start and every linear term of the costs."""
    nodes, d = plan.nodes, len(hessians[0])
    unit = np.eye(nodes * d).reshape(nodes, d, nodes * d)
    none = np.zeros_like(unit)
    starts, terms = np.concatenate([unit, none], axis=2), np.concatenate([none, unit], axis=2)
    steppers = _steppers(plan, hessians, starts, terms)
    columns = 2 * nodes * d
    if _layout(steppers) != [[(*s, columns) for s in shapes] for shapes in layout]:
        return None
    advance_to(steppers, _FIRST)
    before = _stacked(steppers, columns)
    advance_to(steppers, _FIRST + 1)
    return _stacked(steppers, columns) - before


def _reachable(M: Array, changes: Array) -> Array:
    """An orthonormal basis of the smallest space that has `changes` and that M does not leave."""
    basis = np.zeros((len(M), 0))
    new = changes
    while new.size:
        for _ in range(2):  # the second time takes away what rounding left of the first
            new = new - basis @ (basis.T @ new)
        U, sigma, _ = np.linalg.svd(new, full_matrices=False)
        new = U[:, sigma > NEGLIGIBLE * max(1.0, float(np.abs(M).max()))]
        basis = np.c_[basis, new]
        new = M @ new
    return basis


# ---- where a run goes ----


@dataclass(frozen=True, eq=False)
class Course:
    """A run on quadratic costs before it runs: x^k = x^∞ + deviation that `map` shrinks.

    Attributes:
        limit: all nodes' x^∞, shape (nodes, d).
    """

    limit: Array
    _map: Linearised
    _first: Array  # the deviation at iteration 1, in the basis

    def first(self, holds: Callable[[Array], bool], every: int, most: int) -> int | None:
        """The first multiple of `every` at which `holds(X)`, X of shape (nodes, d).

        Of the first `most` multiples from `every` on; None: at none of these.
        """
        jump = np.linalg.matrix_power(self._map.matrix, every)
        deviation = np.linalg.matrix_power(self._map.matrix, every - _FIRST) @ self._first
        for k in range(1, most + 1):
            if holds(self._at(deviation)):
                return k * every
            deviation = jump @ deviation
        return None

    def _at(self, deviation: Array) -> Array:
        return self.limit + _decisions(self._map, self._map.basis @ deviation)


def course(plan: Plan, linear: Linearised) -> Course:
    """Where the plan, whose costs are quadratic, goes; two iterations are run for it."""
    steppers = [
        Stepper(
            plan.algorithm,
            plan.problems[i],
            plan.place(i),
            np.array(plan.starts[i], np.float64),
            plan.seed,
        )
        for i in range(plan.nodes)
    ]
    advance_to(steppers, _FIRST)
    one = _stacked(steppers, 1)[:, 0]
    advance_to(steppers, _FIRST + 1)
    change = linear.basis.T @ (_stacked(steppers, 1)[:, 0] - one)
    first = -np.linalg.solve(np.eye(len(change)) - linear.matrix, change)
    limit = _decisions(linear, one - linear.basis @ first)
    return Course(limit, linear, first)


def _decisions(linear: Linearised, z: Array) -> Array:
    """The nodes' x in z, shape (nodes, d)."""
    rows, at = [], 0
    for shapes in linear.layout:
        rows.append(z[at : at + _size(shapes[0])])
        at += sum(map(_size, shapes))
    return np.stack(rows)


# ---- which steps are stable ----


def largest_step(
    plan: Plan, hessians: Sequence[Array], largest: int, precision: float = 1e-3
) -> float | None:
    """The end of the stable step sizes that begin at zero, to `precision` of it.

    None where no step size is stable, or the method has no matrix or no step size.
    """
    given: float | None = getattr(plan.algorithm, "step_size", None)
    if given is None:
        return None

    def is_stable(step_size: float) -> bool:
        tried = replace(plan.algorithm, step_size=step_size)  # type: ignore[type-var]
        linear = linearise(replace(plan, algorithm=tried), hessians, largest)
        return linear is not None and linear.rate < 1 - TELLABLE

    return _boundary(is_stable, given, precision)


_DOUBLINGS = 16


def _boundary(is_stable: Callable[[float], bool], start: float, precision: float) -> float | None:
    low = high = start
    for _ in range(_DOUBLINGS):
        if is_stable(low):
            break
        low, high = low / 2, low
    else:
        return None
    if low == high:
        for _ in range(_DOUBLINGS):
            high = 2 * low
            if not is_stable(high):
                break
            low = high
        else:
            return None  # every one is: it has no end
    while high - low > precision * low:
        middle = (low + high) / 2
        low, high = (middle, high) if is_stable(middle) else (low, middle)
    return low
