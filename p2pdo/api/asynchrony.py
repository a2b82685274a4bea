"""What an asynchronous run may be asked for, and by which executors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from p2pdo.errors import ConfigError
from p2pdo.protocol.asynchronous.plan import MAX_STALENESS, AsynchronousPlan, Asynchrony
from p2pdo.simulation.activation.reading import read_activation

if TYPE_CHECKING:
    from p2pdo.api.jobs import Job
    from p2pdo.api.requests import Request

_ROUNDS = ("dense", "stacked")


def check_asynchronous(job: Job, executor: str, *, has_timeline: bool) -> None:
    """Refuses what only runs of rounds have, and what is not simulated.

    Raises:
        ConfigError: says what, and what to do instead.
    """
    if not isinstance(job.plan, AsynchronousPlan):
        return
    if executor in _ROUNDS:
        raise ConfigError(
            f"{job.algorithm} is asynchronous, and --on {executor} runs rounds",
            hint="--on simulated, inprocess or processes",
        )
    if has_timeline:
        raise ConfigError(
            f"{job.algorithm} is asynchronous, and a timeline is of iterations",
            hint="leave --timeline out",
        )
    if job.request.lane == "shared-memory":
        raise ConfigError(
            f"{job.algorithm} is asynchronous, and the shared memory lane carries rounds",
            hint="--lane auto takes gRPC",
        )
    activation = job.plan.asynchrony.activation
    asked = {"activation": activation, "drop": job.plan.drops}
    for name, value in asked.items():
        if value is not None and executor != "simulated":
            raise ConfigError(
                f"--{name} is of a simulated network; with --on {executor} the network is what it "
                "is",
                hint=f"--on simulated, or leave --{name} out",
            )
    if activation is not None:
        read_activation(activation, job.plan.nodes)


def asynchrony_of(request: Request) -> Asynchrony:
    """How far nodes drift apart, and who wakes when.

    Raises:
        ConfigError: something was asked for that only runs of rounds have.
    """
    if request.settle is not None:
        raise ConfigError(
            "--settle is of synchronous algorithms",
            hint="leave --settle out, and stop by --tol or --rounds",
        )
    most = MAX_STALENESS if request.max_staleness is None else request.max_staleness
    return Asynchrony(max_staleness=most, activation=request.activation)


def require_synchrony(request: Request, name: str) -> None:
    """Refuses what only asynchronous runs have.

    Raises:
        ConfigError: it was asked for.
    """
    if request.max_staleness is not None or request.activation is not None:
        raise ConfigError(
            f"{name} is synchronous: its nodes do not drift apart",
            hint="--max-staleness and --activation are of asynchronous ones",
        )
