"""Simulated runs: what a user may say of links and nodes, and what such a run came to.

links        a file as `simulation.links.models` shows it, or its content
link_delay   of every link: "20ms", "lognormal:20ms,0.3", "exponential:20ms"
link_loss    the share of frames that every link loses and sends again
compute      how long an iteration takes: "5ms", "lognormal:5ms,0.3", or "measured"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pdo.errors import ConfigError
from p2pdo.graphs.graph import Graph
from p2pdo.simulation.inprocess import Simulation
from p2pdo.simulation.links.compute import read_compute
from p2pdo.simulation.links.conditions import Conditions
from p2pdo.simulation.links.delay import Delay, read_delay
from p2pdo.simulation.links.models import MEASURED
from p2pdo.simulation.links.reading import Links, links_of, read_links

if TYPE_CHECKING:
    from p2pdo.api.jobs import Job
    from p2pdo.api.requests import Request

SIMULATED = "simulated"


def links_for(request: Request, graph: Graph) -> Links | None:
    """The conditions that were asked for; None where nothing was.

    Raises:
        ConfigError: something is wrong, with file and key.
    """
    links, compute = request.links, request.compute
    if links is request.link_delay is request.link_loss is compute is None:
        return None
    if links is None:
        found = Links(Conditions())
    elif isinstance(links, Mapping):
        found = links_of(links, graph)
    else:
        found = read_links(Path(links), graph)
    if request.link_delay is not None:
        found = _on_all_links(found, delay=_delay(request.link_delay))
    if request.link_loss is not None:
        found = _on_all_links(found, loss=_loss(request.link_loss))
    return found if compute is None else _with_compute(found, compute)


def _loss(loss: float) -> float:
    if not 0 <= loss < 1:
        raise ConfigError(
            f"a link loses a share of its frames in [0, 1), got {loss}", hint="--link-loss 0.1"
        )
    return loss


def _delay(written: float | str) -> Delay:
    try:
        return read_delay(written)
    except ValueError as error:
        raise ConfigError(
            f"the delay of links is wrong: {error}",
            hint="--link-delay 20ms, --link-delay lognormal:20ms,0.3",
        ) from None


def _on_all_links(found: Links, **has: Any) -> Links:
    conditions = found.conditions
    weather = replace(conditions.weather, **has)
    edges = {way: replace(of_edge, **has) for way, of_edge in conditions.edges.items()}
    return replace(found, conditions=replace(conditions, weather=weather, edges=edges))


def _with_compute(found: Links, written: float | str) -> Links:
    if written == MEASURED:
        return replace(found, measure=True)
    try:
        median, sigma = read_compute(written)
    except ValueError as error:
        raise ConfigError(
            f"{error}", hint="--compute 5ms, --compute lognormal:5ms,0.3 or --compute measured"
        ) from None
    compute = replace(found.conditions.compute, medians=(median,), sigma=sigma)
    return Links(replace(found.conditions, compute=compute))


def check_simulated(links: Links | None, executor: str) -> None:
    """Refuses links where nothing simulates them.

    Raises:
        ConfigError: with the executor that does.
    """
    if links is not None and executor != SIMULATED:
        raise ConfigError(
            f"{executor} simulates no links, losses or computing times", hint=f"--on {SIMULATED}"
        )


def simulation_of(job: Job) -> Simulation:
    """The job's run in simulated time."""
    links = job.links or Links(Conditions())
    return Simulation(job.request.delay_seed, links.conditions, measure=links.measure)


def figures_of(simulation: Simulation, nodes: int) -> dict[str, float]:
    """For a summary."""
    traffic, seconds = simulation.traffic, simulation.seconds
    figures: dict[str, float] = {
        "seconds": seconds,
        "computing_share": simulation.computing / (nodes * seconds) if seconds else 0.0,
        "frames": traffic.frames,
        "frames_lost": traffic.lost,
        "link_cuts": traffic.cuts,
    }
    if traffic.bytes:
        figures["wire_bytes"] = traffic.bytes
    planned = simulation.conditions.planned()
    began = {what: sum(at < seconds for at in times) for what, times in planned.items()}
    figures |= {what: count for what, count in began.items() if count}
    missed = sum(map(len, planned.values())) - sum(began.values())
    return {**figures, "too_late": missed} if missed else figures
