"""The algorithm library: one file a family, every method a pure step.

Those that no rounds hold together are in `asynchronous`.
"""

from typing import TYPE_CHECKING

from p2pdo.on_use import attributes

if TYPE_CHECKING:
    from p2pdo.algorithms.accelerated import AccDngd, Mudag, Opapc
    from p2pdo.algorithms.accelerated_dual import Msda, Ssda
    from p2pdo.algorithms.accelerated_gossip import ChebyshevGossip, FastMix
    from p2pdo.algorithms.adapt_then_combine import AtcTracking, AugDgm
    from p2pdo.algorithms.asynchronous import (
        AdPsgd,
        AsynchronousAlgorithm,
        AsynchronousConsensus,
        AsySonata,
        BroadcastGossip,
        Channel,
        RandomizedGossip,
        RobustPushSum,
    )
    from p2pdo.algorithms.base import Algorithm, HasDecision, Limit, Missing, Requires, Stochastic
    from p2pdo.algorithms.compressed import Beer, CGt, ChocoGossip, ChocoSgd, Lead
    from p2pdo.algorithms.consensus import Consensus, LogicAnd, MaxConsensus, MinConsensus
    from p2pdo.algorithms.constraint_coupled import DualSubgradient, PrimalDecomposition
    from p2pdo.algorithms.directed import Ab, GradientPush, PushDiging, PushPull, PushSum
    from p2pdo.algorithms.dual_decomposition import DualDecomposition
    from p2pdo.algorithms.edge_admm import AdmmTracking, EdgeAdmm, LtAdmm, LtAdmmVr
    from p2pdo.algorithms.error_feedback import Motef
    from p2pdo.algorithms.exact_first_order import (
        ExactDiffusion,
        Extra,
        Nids,
        NidsOwnSteps,
        WangElia,
    )
    from p2pdo.algorithms.finite_time import FiniteTime
    from p2pdo.algorithms.gradient_descent import Atc, Dgd, DgdCta
    from p2pdo.algorithms.gradient_tracking import GradientTracking, GtAdam
    from p2pdo.algorithms.invariants import Invariant, equal_means, zero_mean
    from p2pdo.algorithms.local_training import KGt, Led, ProxSkip
    from p2pdo.algorithms.masked import MaskedConsensus
    from p2pdo.algorithms.momentum import DecentLam, DmSgd, QgDsgdm
    from p2pdo.algorithms.newton import Dqm, Esom, NetworkNewton, NewtonTracking
    from p2pdo.algorithms.node_admm import ConsensusAdmm, Dinno, Dlm
    from p2pdo.algorithms.private import DpDgd
    from p2pdo.algorithms.proximal import PgExtra, ProxNids
    from p2pdo.algorithms.robust import ClippedGossip, MedianConsensus, TrimmedMean
    from p2pdo.algorithms.variance_reduced import GtSaga, GtSarah, GtVr
else:
    __getattr__ = attributes(
        __name__,
        {
            "accelerated": "AccDngd Mudag Opapc",
            "accelerated_dual": "Msda Ssda",
            "accelerated_gossip": "ChebyshevGossip FastMix",
            "adapt_then_combine": "AtcTracking AugDgm",
            "asynchronous": "AdPsgd AsynchronousAlgorithm AsynchronousConsensus AsySonata "
            "BroadcastGossip Channel RandomizedGossip RobustPushSum",
            "base": "Algorithm HasDecision Limit Missing Requires Stochastic",
            "compressed": "Beer CGt ChocoGossip ChocoSgd Lead",
            "consensus": "Consensus LogicAnd MaxConsensus MinConsensus",
            "constraint_coupled": "DualSubgradient PrimalDecomposition",
            "directed": "Ab GradientPush PushDiging PushPull PushSum",
            "dual_decomposition": "DualDecomposition",
            "edge_admm": "AdmmTracking EdgeAdmm LtAdmm LtAdmmVr",
            "error_feedback": "Motef",
            "exact_first_order": "ExactDiffusion Extra Nids NidsOwnSteps WangElia",
            "finite_time": "FiniteTime",
            "gradient_descent": "Atc Dgd DgdCta",
            "gradient_tracking": "GradientTracking GtAdam",
            "invariants": "Invariant equal_means zero_mean",
            "local_training": "KGt Led ProxSkip",
            "masked": "MaskedConsensus",
            "momentum": "DecentLam DmSgd QgDsgdm",
            "newton": "Dqm Esom NetworkNewton NewtonTracking",
            "node_admm": "ConsensusAdmm Dinno Dlm",
            "private": "DpDgd",
            "proximal": "PgExtra ProxNids",
            "robust": "ClippedGossip MedianConsensus TrimmedMean",
            "variance_reduced": "GtSaga GtSarah GtVr",
        },
    )

__all__ = [
    "Ab",
    "AccDngd",
    "AdPsgd",
    "AdmmTracking",
    "Algorithm",
    "AsySonata",
    "AsynchronousAlgorithm",
    "AsynchronousConsensus",
    "Atc",
    "AtcTracking",
    "AugDgm",
    "Beer",
    "BroadcastGossip",
    "CGt",
    "Channel",
    "ChebyshevGossip",
    "ChocoGossip",
    "ChocoSgd",
    "ClippedGossip",
    "Consensus",
    "ConsensusAdmm",
    "DecentLam",
    "Dgd",
    "DgdCta",
    "Dinno",
    "Dlm",
    "DmSgd",
    "DpDgd",
    "Dqm",
    "DualDecomposition",
    "DualSubgradient",
    "EdgeAdmm",
    "Esom",
    "ExactDiffusion",
    "Extra",
    "FastMix",
    "FiniteTime",
    "GradientPush",
    "GradientTracking",
    "GtAdam",
    "GtSaga",
    "GtSarah",
    "GtVr",
    "HasDecision",
    "Invariant",
    "KGt",
    "Lead",
    "Led",
    "Limit",
    "LogicAnd",
    "LtAdmm",
    "LtAdmmVr",
    "MaskedConsensus",
    "MaxConsensus",
    "MedianConsensus",
    "MinConsensus",
    "Missing",
    "Motef",
    "Msda",
    "Mudag",
    "NetworkNewton",
    "NewtonTracking",
    "Nids",
    "NidsOwnSteps",
    "Opapc",
    "PgExtra",
    "PrimalDecomposition",
    "ProxNids",
    "ProxSkip",
    "PushDiging",
    "PushPull",
    "PushSum",
    "QgDsgdm",
    "RandomizedGossip",
    "Requires",
    "RobustPushSum",
    "Ssda",
    "Stochastic",
    "TrimmedMean",
    "WangElia",
    "equal_means",
    "zero_mean",
]


def __dir__() -> list[str]:
    return __all__
