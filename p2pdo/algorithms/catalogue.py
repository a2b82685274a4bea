"""The algorithms by name, and how a name with plain parameters becomes an object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any, TypeAlias, TypeVar

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.asynchronous.table import ASYNCHRONOUS
from p2pdo.algorithms.base import CONSENSUS, Algorithm, CostBounds, Method
from p2pdo.algorithms.installed import installed_algorithms, load
from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.graphs.weights import Weights
from p2pdo.on_use import ByName
from p2pdo.types import Plain

ALGORITHMS: ByName[type[Algorithm[Any]]] = ByName(
    "p2pdo.algorithms",
    {
        "consensus": "Consensus",
        "max-consensus": "MaxConsensus",
        "min-consensus": "MinConsensus",
        "logic-and": "LogicAnd",
        "finite-time": "FiniteTime",
        "push-sum": "PushSum",
        "dgd": "Dgd",
        "dgd-cta": "DgdCta",
        "atc": "Atc",
        "gradient-push": "GradientPush",
        "gradient-tracking": "GradientTracking",
        "gtadam": "GtAdam",
        "atc-tracking": "AtcTracking",
        "aug-dgm": "AugDgm",
        "extra": "Extra",
        "exact-diffusion": "ExactDiffusion",
        "nids": "Nids",
        "nids-own-steps": "NidsOwnSteps",
        "wang-elia": "WangElia",
        "acc-dngd": "AccDngd",
        "mudag": "Mudag",
        "opapc": "Opapc",
        "ssda": "Ssda",
        "msda": "Msda",
        "dual-decomposition": "DualDecomposition",
        "k-gt": "KGt",
        "led": "Led",
        "proxskip": "ProxSkip",
        "edge-admm": "EdgeAdmm",
        "atg": "AdmmTracking",
        "lt-admm": "LtAdmm",
        "lt-admm-vr": "LtAdmmVr",
        "consensus-admm": "ConsensusAdmm",
        "dlm": "Dlm",
        "dinno": "Dinno",
        "dqm": "Dqm",
        "network-newton": "NetworkNewton",
        "esom": "Esom",
        "newton-tracking": "NewtonTracking",
        "gt-saga": "GtSaga",
        "gt-sarah": "GtSarah",
        "gt-vr": "GtVr",
        "ab": "Ab",
        "push-pull": "PushPull",
        "push-diging": "PushDiging",
        "decentlam": "DecentLam",
        "dmsgd": "DmSgd",
        "qg-dsgdm": "QgDsgdm",
        "fastmix": "FastMix",
        "chebyshev-gossip": "ChebyshevGossip",
        "choco-gossip": "ChocoGossip",
        "choco-sgd": "ChocoSgd",
        "beer": "Beer",
        "lead": "Lead",
        "c-gt": "CGt",
        "motef": "Motef",
        "pg-extra": "PgExtra",
        "prox-nids": "ProxNids",
        "dual-subgradient": "DualSubgradient",
        "primal-decomposition": "PrimalDecomposition",
        "dp-dgd": "DpDgd",
        "masked-consensus": "MaskedConsensus",
        "median-consensus": "MedianConsensus",
        "trimmed-mean": "TrimmedMean",
        "clipped-gossip": "ClippedGossip",
    },
)


AnyAlgorithm: TypeAlias = Algorithm[Any] | AsynchronousAlgorithm[Any]
M = TypeVar("M", bound=Method)


def find(name: str) -> type[AnyAlgorithm]:
    """The class of that name: the library's, or one that is installed.

    Raises:
        ConfigError: there is none, or what is installed is broken.
    """
    if name in ALGORITHMS:
        return ALGORITHMS[name]
    if name in ASYNCHRONOUS:
        return ASYNCHRONOUS[name]
    others = installed_algorithms()
    if name in others:
        return load(others[name])
    raise ConfigError(
        f"unknown algorithm '{name}'",
        hint=did_you_mean(name, names()),
    )


def names() -> list[str]:
    """Of the library's algorithms and of installed ones."""
    return [*ALGORITHMS, *ASYNCHRONOUS, *installed_algorithms()]


def is_known(name: str) -> bool:
    return name in names()


def is_of_the_library(name: str) -> bool:
    return name in ALGORITHMS or name in ASYNCHRONOUS


def agrees_on_starts(name: str) -> bool:
    """Whether the library's algorithm of that name is a consensus, which no cost pulls."""
    return is_of_the_library(name) and find(name).limit in CONSENSUS


def name_of(algorithm: type[Method]) -> str:
    """The catalogue's name, or the class's own for an algorithm from elsewhere."""
    name = ALGORITHMS.name_of(algorithm) or ASYNCHRONOUS.name_of(algorithm)
    return name or algorithm.__name__


def needs_smoothness(cls: type[Method], parameters: Mapping[str, Plain]) -> bool:
    """Whether building it takes a step size from L, because none is given nor defaulted."""
    return any(
        f.name == "step_size" and f.default is MISSING and f.name not in parameters
        for f in fields(cls)  # type: ignore[arg-type]
    )


def told_by_network(
    cls: type[Method], parameters: Mapping[str, Plain], weights: Weights
) -> dict[str, Plain]:
    """What the weights say of the parameters that are not given.

    Raises:
        ConfigError: the weights do not have it.
    """
    if parameters.keys() >= cls.from_network.keys():
        return {}  # eigenvalues of large networks take time
    return {k: v for k, v in cls.of_network(weights).items() if k not in parameters}


def told_by_costs(
    cls: type[Method], parameters: Mapping[str, Plain], bounds: CostBounds | None
) -> dict[str, Plain]:
    """What the costs' L and μ say of the parameters that are not given.

    Raises:
        ConfigError: the costs do not tell them, or are not strongly convex where that is needed.
    """
    missing = cls.from_costs.keys() - parameters.keys()
    if not missing:
        return {}
    if bounds is None and not cls.needs_costs:
        return {}
    if bounds is None:
        names = ", ".join(sorted(missing))
        each = (f"--set {name}=… ({cls.from_costs[name]})" for name in sorted(missing))
        raise ConfigError(
            f"{name_of(cls)} needs {names}: the problem does not tell its constants L and μ",
            hint=f"give it: {', '.join(each)}",
        )
    return {k: v for k, v in cls.of_costs(bounds).items() if k in missing}


def build(
    cls: type[M],
    parameters: Mapping[str, Plain],
    smoothness: float | None = None,
    share: float = 1.0,
) -> M:
    """The algorithm with these parameters; a missing step size is `share` / L, L = maxᵢ Lᵢ.

    `share` is one, or where all costs are quadratic the algorithm's `safe_share`.

    Raises:
        ConfigError: an unknown parameter, one of the wrong type or out of range, or no step
            size where the problem does not tell its L.
    """
    declared = require_declared(cls, parameters)
    values = {key: _convert(key, value, declared[key]) for key, value in parameters.items()}
    if needs_smoothness(cls, parameters):
        if smoothness is None:
            raise ConfigError(
                f"{name_of(cls)} needs a step size: the problem does not tell its smoothness L",
                hint="give one: --set step_size=0.01",
            )
        values["step_size"] = share / smoothness
    try:
        return cls(**values)
    except TypeError as error:  # a field without a default was left out
        raise ConfigError(f"{name_of(cls)}: {error}", hint="give it with --set") from None


def require_declared(cls: type[Method], names: Iterable[str]) -> dict[str, str]:
    """The parameters that a class declares, with their types.

    Raises:
        ConfigError: one of the names is none of them.
    """
    declared = {f.name: str(f.type) for f in fields(cls)}  # type: ignore[arg-type]
    for name in names:
        if name not in declared:
            raise ConfigError(
                f"{name_of(cls)} has no parameter '{name}'",
                hint=did_you_mean(name, list(declared)) if declared else "it has no parameters",
            )
    return declared


def _convert(key: str, value: Plain, declared: str) -> Any:
    """`value` as the declared number type; other types must match as they are."""
    if declared == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if declared in ("int", "str", "bool") and type(value).__name__ != declared:
        raise ConfigError(
            f"parameter {key} must be of type {declared}, got {value!r}",
            hint=f"--set {key}=… with a value of type {declared}",
        )
    if declared == "float":
        raise ConfigError(
            f"parameter {key} must be a number, got {value!r}", hint=f"--set {key}=0.01"
        )
    return value
