"""The algorithm library: one file a family, every method a pure step."""

from p2pdo.algorithms.adapt_then_combine import AtcTracking, AugDgm
from p2pdo.algorithms.base import Algorithm, HasDecision, Limit, Missing, Requires, Stochastic
from p2pdo.algorithms.consensus import Consensus
from p2pdo.algorithms.exact_first_order import ExactDiffusion, Extra, Nids, WangElia
from p2pdo.algorithms.gradient_descent import Atc, Dgd, DgdCta
from p2pdo.algorithms.gradient_tracking import GradientTracking, GtAdam
from p2pdo.algorithms.local_training import KGt, Led, ProxSkip

__all__ = [
    "Algorithm",
    "Atc",
    "AtcTracking",
    "AugDgm",
    "Consensus",
    "Dgd",
    "DgdCta",
    "ExactDiffusion",
    "Extra",
    "GradientTracking",
    "GtAdam",
    "HasDecision",
    "KGt",
    "Led",
    "Limit",
    "Missing",
    "Nids",
    "ProxSkip",
    "Requires",
    "Stochastic",
    "WangElia",
]
