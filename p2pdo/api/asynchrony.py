"""What an asynchronous run may be asked for, and by which executors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from p2pdo.errors import ConfigError
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan, Asynchrony
from p2pdo.simulation.activation.reading import read_activation

if TYPE_CHECKING:
    from p2pdo.api.jobs import Job
    from p2pdo.api.requests import Request

WEATHER = ("delay", "drop", "duplicate", "activation")
"""What only a simulated network has."""

_ROUNDS = ("dense", "stacked")
_WEATHER_INSTEAD = "; an asynchronous run has --delay, --drop and --duplicate"
_INSTEAD = {  # of what only runs of rounds have
    "settle": ", and stop by --tol or --rounds",
    "links": _WEATHER_INSTEAD,
    "link_loss": _WEATHER_INSTEAD,
    "compute": _WEATHER_INSTEAD,
}


def check_asynchronous(job: Job, executor: str, *, has_timeline: bool) -> None:
    """Refuses what only runs of rounds have, and weather where it is not simulated.

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
    asked, usual = job.plan.asynchrony, Asynchrony()
    odd = [name for name in WEATHER if getattr(asked, name) != getattr(usual, name)]
    if odd and executor != "simulated":
        raise ConfigError(
            f"--{odd[0]} is of a simulated network; with --on {executor} the network is what it is",
            hint=f"--on simulated, or leave --{odd[0]} out",
        )
    read_activation(asked.activation, job.plan.nodes)


def asynchrony_of(request: Request) -> Asynchrony:
    """How far nodes drift apart, with the share of messages that `drop` loses.

    Raises:
        ConfigError: something was asked for that only runs of rounds have.
    """
    for name, instead in _INSTEAD.items():
        if getattr(request, name) is not None:
            raise _only_of_rounds(name, instead)
    if request.monitor not in ("auto", "off"):
        raise _only_of_rounds("monitor", "")
    if request.drop is None:
        return request.asynchrony
    try:
        share = float(request.drop)  # type: ignore[arg-type]  # what is no number is told below
    except (TypeError, ValueError):
        raise ConfigError(
            f"'{request.drop}' is no share of messages that are lost", hint="--drop 0.1"
        ) from None
    return replace(request.asynchrony, drop=share)


def _only_of_rounds(name: str, instead: str) -> ConfigError:
    option = f"--{name.replace('_', '-')}"
    return ConfigError(
        f"{option} is of synchronous algorithms", hint=f"leave {option} out{instead}"
    )


def require_synchrony(request: Request, name: str) -> None:
    """Refuses what only asynchronous runs have.

    Raises:
        ConfigError: it was asked for.
    """
    if request.asynchrony != Asynchrony():
        raise ConfigError(
            f"{name} is synchronous: its nodes do not drift apart",
            hint="--max-staleness, --delay, --duplicate and --activation are of asynchronous ones",
        )
