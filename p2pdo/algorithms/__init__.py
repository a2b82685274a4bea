"""The algorithm library: one file a family, every method a pure step."""

from p2pdo.algorithms.base import Algorithm, HasDecision, Requires, Stochastic
from p2pdo.algorithms.consensus import Consensus
from p2pdo.algorithms.gradient_descent import Dgd, DgdCta
from p2pdo.algorithms.gradient_tracking import GradientTracking, GtAdam

__all__ = [
    "Algorithm",
    "Consensus",
    "Dgd",
    "DgdCta",
    "GradientTracking",
    "GtAdam",
    "HasDecision",
    "Requires",
    "Stochastic",
]
