"""What a run tells: a metric per observed iteration, an event per happening, one summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from p2pdo.errors import ConfigError
from p2pdo.protocol.counting import Calls
from p2pdo.types import Plain

OWN_DATA = "its own data"
"""What a participant's summary says in the problem's place."""


@dataclass(frozen=True, slots=True)
class Metric:
    """The network at one observed iteration.

    Attributes:
        iteration: completed iterations; 0 is the start.
        seconds: since the run's first observation.
        gap: F(x̄) − F*; None where the optimum is not known.
        consensus_error: maxᵢ ‖xᵢ − x̄‖₂; None where the states are not seen.
        value: F(x̄); None where the states are not seen.
        bytes_sent: payload bytes sent by all nodes so far.
        messages_sent: values sent by all nodes so far, one per edge and exchange.
        logged: what participants have logged, by its name and then by the node's.
        calls: what all nodes' steps have asked of their costs so far; None where nobody knows.
        accuracy: the share of all nodes' samples that x̄ classifies rightly, where the problem
            tells it; `test_accuracy` that of samples that no node has, where there are some.
        simulated_seconds: since the beginning, on the clock of a simulated run.
    """

    iteration: int
    seconds: float
    gap: float | None
    consensus_error: float | None
    value: float | None
    bytes_sent: int
    messages_sent: int
    logged: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    calls: Calls | None = None
    accuracy: float | None = None
    test_accuracy: float | None = None
    simulated_seconds: float | None = None

    def to_plain(self) -> dict[str, Plain]:
        plain = asdict(self)
        optional = ("logged", "calls", "accuracy", "test_accuracy", "simulated_seconds")
        return {k: v for k, v in plain.items() if not (k in optional and v in (None, {}))}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Plain]) -> Metric:
        return cls(**_fields_of(cls, plain))


@dataclass(frozen=True, slots=True)
class Summary:
    """A finished run, as `p2pdo run --json` prints it; None where a figure cannot be known.

    Attributes:
        bytes_sent: payload bytes sent by all nodes: of values, encoded where there is a codec.
        links: how many pairs of neighbours exchanged by which lane; empty in one process.
        header_bytes: of the gRPC frames around values, beside them; in shared memory are none.
        codec: of what was mixed, with its step; "none" where a method compresses by itself.
        calls: what all nodes' steps asked of their costs.
        accuracy, test_accuracy: as of a `Metric`.
        rates: "predicted" before the run and "observed" in it, as far as they can be told: what the
            distance to the limit shrank by in an iteration.
        dropped: values that were sent and never arrived, because it was asked for.
        simulated: of a simulated run: the seconds that it would have taken, and what its links
            have carried.
        privacy: of a private method: epsilon at delta, and rho of zCDP, of one sample of a node.
    """

    workload_id: str
    status: str
    problem: str
    algorithm: str
    topology: str
    nodes: int
    executor: str
    iterations: int
    gap: float | None
    consensus_error: float | None
    value: float | None
    optimum: float | None
    distance_to_optimum: float | None
    bytes_sent: int
    messages_sent: int
    seconds: float
    run_dir: str | None
    state_sha256: str | None
    links: dict[str, int] = field(default_factory=dict)
    header_bytes: int = field(default_factory=int)
    codec: str = field(default_factory=lambda: "none")
    calls: Calls | None = None
    accuracy: float | None = None
    test_accuracy: float | None = None
    rates: dict[str, float] = field(default_factory=dict)
    dropped: int = 0
    simulated: dict[str, float] = field(default_factory=dict)
    privacy: dict[str, float] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Plain]:
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Plain]) -> Summary:
        return cls(**_fields_of(cls, plain))


def _fields_of(cls: type[Metric | Summary], plain: Mapping[str, Plain]) -> dict[str, Any]:
    """What the record needs; what a newer version wrote besides is left alone."""
    needed = [f.name for f in fields(cls) if f.default_factory is MISSING and f.default is MISSING]
    missing = [name for name in needed if name not in plain]
    if missing:
        raise ConfigError(
            f"a {cls.__name__.lower()} lacks {', '.join(missing)}",
            hint="read it with the version of p2pdo that wrote it",
        )
    found: dict[str, Any] = {f.name: plain[f.name] for f in fields(cls) if f.name in plain}
    if isinstance(calls := found.get("calls"), dict):
        found["calls"] = Calls(**calls)
    return found
