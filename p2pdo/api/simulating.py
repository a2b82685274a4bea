"""Simulated runs: what a user may say of links and nodes, and what such a run came to.

links        a file as `simulation.links.models` shows it, or its content
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
from p2pdo.simulation.links.models import MEASURED
from p2pdo.simulation.links.reading import Links, links_of, read_links

if TYPE_CHECKING:
    from p2pdo.api.jobs import Job

SIMULATED = "simulated"


def links_for(
    links: Path | str | Mapping[str, Any] | None,
    link_loss: float | None,
    compute: float | str | None,
    graph: Graph,
) -> Links | None:
    """The conditions that were asked for; None where nothing was.

    Raises:
        ConfigError: something is wrong, with file and key.
    """
    if links is None and link_loss is None and compute is None:
        return None
    if links is None:
        found = Links(Conditions())
    elif isinstance(links, Mapping):
        found = links_of(links, graph)
    else:
        found = read_links(Path(links), graph)
    if link_loss is not None:
        found = _with_loss(found, link_loss)
    return found if compute is None else _with_compute(found, compute)


def _with_loss(found: Links, loss: float) -> Links:
    if not 0 <= loss < 1:
        raise ConfigError(
            f"a link loses a share of its frames in [0, 1), got {loss}", hint="--link-loss 0.1"
        )
    conditions = found.conditions
    weather = replace(conditions.weather, loss=loss)
    edges = {way: replace(of_edge, loss=loss) for way, of_edge in conditions.edges.items()}
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
    return figures
