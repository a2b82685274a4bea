"""What may be asked of a run, and what of it is refused by itself.

What fits no problem, graph or algorithm is refused where those are looked up, see `api.resolving`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from p2pdo.algorithms.catalogue import AnyAlgorithm
from p2pdo.api.limits import MOST_STACKED, check_most
from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.protocol.coding import NONE
from p2pdo.protocol.drops import Drops
from p2pdo.protocol.settling import require_settle
from p2pdo.types import Array, Plain

MONITORS = ("auto", "every", "observed", "off")
LANES = ("auto", "grpc", "shared-memory")


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run as it was asked for.

    Attributes:
        problem: a catalogue name, "file.py:object", or the nodes' problems in node order.
        algorithm: a catalogue name, "file.py:Class", or an algorithm object.
        parameters: the algorithm's by name, and the problem's with the prefix "problem.".
        topology: a name, a file (see `api.topology_files`) or its content, a matrix of NumPy or
            SciPy, a networkx graph or a `Graph`.
        weights: a name; None takes the graph's default.
        start: "zeros", "normal", "uniform", an array of shape (d,) or (N, d), or a file of one.
        record: "x": each node keeps a history of it at observed iterations.
        dtype: "float64" or "float32"; None is what the problems compute in, mostly float64.
        delay_seed: of the weather of a simulated network; the result does not depend on it.
        drop: values that never arrive, see `api.drops`; of algorithms that go on without.
        links, link_delay, link_loss, compute: of a simulated network, see `api.simulating`.
        lane: how values go between node processes: "auto", "grpc" or "shared-memory".
        codec: of what is mixed, NAME[:NUMBER][,step=γ], see `p2pdo.codecs`; a method that
            compresses by itself takes it as its compressor.
        settle: stop where no node's x moves by more than this, as the nodes find out themselves.
        monitor: how often what the method keeps is looked at: at "every" iteration, at "observed"
            ones, at multiples of a number, "off"; "auto" is at every one where the network is
            simulated, else at observed.
        test: samples that no node has, of which the accuracy is told: a problem that classifies,
            or "file.py:object", one or a function of the seed that makes one. Of data sets of the
            catalogue it is the parameter "problem.test", a share of their samples.
        max_staleness: of asynchronous algorithms: wake-ups by which a node may be ahead of what it
            last heard of a neighbour; None is 4.
        activation: of asynchronous algorithms on a simulated network: who wakes when, see
            `simulation.activation.reading`; None: who has heard enough, as on a real one.
    """

    problem: str | Sequence[Any]
    algorithm: str | AnyAlgorithm = "gradient-tracking"
    parameters: Mapping[str, Plain] = field(default_factory=dict)
    nodes: int = 8
    topology: Any = "ring"
    weights: str | None = None
    rounds: int = 1000
    tol: float | None = None
    observe_every: int = 50
    start: str | Array | None = None
    seed: int = 0
    partition: str = "iid"
    dtype: str | None = None
    delay_seed: int = 0
    drop: float | str | Drops | None = None
    links: Path | str | Mapping[str, Any] | None = None
    link_delay: float | str | None = None
    link_loss: float | None = None
    compute: float | str | None = None
    record: str | Sequence[str] | None = ()
    lane: str = "auto"
    codec: str = NONE
    settle: float | None = None
    monitor: str | int = "auto"
    test: Any = None
    max_staleness: int | None = None
    activation: str | None = None


def names_recorded(asked: object) -> tuple[str, ...]:
    """What each node keeps a history of: one name, several or none.

    Raises:
        ConfigError: it is something else.
    """
    names = (asked,) if isinstance(asked, str) else () if asked is None else asked
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"what is recorded has a name, got {asked!r}", hint='record="x"')
    return tuple(names)


def check_request(request: Request) -> None:
    """Refuses numbers and names that no run takes.

    Raises:
        ConfigError: says which, and what to give instead.
    """
    if request.nodes < 1:
        raise ConfigError(f"nodes must be one or more, got {request.nodes}", hint="--nodes 8")
    check_most(request.nodes, MOST_STACKED)  # the executor may take fewer
    if request.delay_seed < 0:
        raise ConfigError(
            f"the delay seed must be zero or more, got {request.delay_seed}", hint="--delay-seed 0"
        )
    if request.rounds < 0:
        raise ConfigError(f"rounds must be zero or more, got {request.rounds}", hint="--rounds 100")
    if request.lane not in LANES:
        raise ConfigError(
            f"unknown lane '{request.lane}'", hint=did_you_mean(request.lane, list(LANES))
        )
    if request.observe_every < 1:
        raise ConfigError(
            f"observe_every must be one or more, got {request.observe_every}",
            hint="--observe-every 50",
        )
    if request.seed < 0:
        raise ConfigError(f"the seed must be zero or more, got {request.seed}", hint="--seed 0")
    _check_monitor(request.monitor)
    if request.settle is not None:
        require_settle(request.settle)
    if request.tol is not None and not (np.isfinite(request.tol) and request.tol > 0):
        raise ConfigError(f"the tolerance must be positive, got {request.tol}", hint="--tol 1e-8")


def _check_monitor(monitor: str | int) -> None:
    if isinstance(monitor, int):
        if monitor < 1:
            raise ConfigError(
                f"a monitor looks at each multiple of one or more iterations, got {monitor}",
                hint="--monitor every, --monitor 10",
            )
    elif monitor not in MONITORS:
        raise ConfigError(f"unknown monitor '{monitor}'", hint=did_you_mean(monitor, [*MONITORS]))
