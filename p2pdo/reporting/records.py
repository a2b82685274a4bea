"""What a run tells: a metric per observed iteration, an event per happening, one summary."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from p2pdo.types import Plain


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
    """

    iteration: int
    seconds: float
    gap: float | None
    consensus_error: float | None
    value: float | None
    bytes_sent: int
    messages_sent: int

    def to_plain(self) -> dict[str, Plain]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Summary:
    """A finished run, as `p2pdo run --json` prints it; None where a figure cannot be known."""

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

    def to_plain(self) -> dict[str, Plain]:
        return asdict(self)
