"""Costs: what a node minimises, and the oracles that an algorithm may call on it."""

from p2pdo.problems.base import (
    Composite,
    FiniteSum,
    Gradient,
    Problem,
    Prox,
    Smooth,
    Solvable,
    Stackable,
    Startable,
    StochasticGradient,
)
from p2pdo.problems.distance import Distance
from p2pdo.problems.jax_problem import JaxProblem
from p2pdo.problems.lasso import Lasso
from p2pdo.problems.least_squares import LeastSquares
from p2pdo.problems.logistic import Logistic
from p2pdo.problems.quadratic import Quadratic
from p2pdo.problems.torch_problem import TorchProblem

__all__ = [
    "Composite",
    "Distance",
    "FiniteSum",
    "Gradient",
    "JaxProblem",
    "Lasso",
    "LeastSquares",
    "Logistic",
    "Problem",
    "Prox",
    "Quadratic",
    "Smooth",
    "Solvable",
    "Stackable",
    "Startable",
    "StochasticGradient",
    "TorchProblem",
]
