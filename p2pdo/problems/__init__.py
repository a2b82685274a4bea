"""Costs: what a node minimises, and the oracles that an algorithm may call on it."""

from p2pdo.problems.base import Gradient, Problem, Smooth, Solvable, Stackable
from p2pdo.problems.least_squares import LeastSquares
from p2pdo.problems.logistic import Logistic
from p2pdo.problems.quadratic import Quadratic

__all__ = [
    "Gradient",
    "LeastSquares",
    "Logistic",
    "Problem",
    "Quadratic",
    "Smooth",
    "Solvable",
    "Stackable",
]
