"""`links.toml` as it is written. What it means is made in `reading`.

[links]                               # every link; what is left out is as without the file
delay = "lognormal:20ms,0.3"          # or "20ms", "exponential:20ms", { matrix = "pings.csv" }
bandwidth = "100 Mbit/s"
loss = 0.01                           # sent again after `resend`: costs time, and nothing else

[[edges]]                             # those that have something of their own
between = [0, 1]                      # both directions; from = 0, to = 1 is one
delay = "150ms"

[compute]
time = "5ms"                          # of an iteration; or "lognormal:5ms,0.3", or "measured"
[[compute.slow]]
nodes = [3]
factor = 10
chance = 0.2                          # in a fifth of all iterations

[[freezes]]                           # stand still and go on
nodes = [5]
at = "10s"
for = "3s"                            # with every = "1h": now and then, 3 s on average

[[crashes]]                           # are gone with their links, and back with their state
nodes = [4]
at = "15s"
for = "2s"

[[partitions]]                        # these hear each other, and nobody else
nodes = [0, 1, 2]
at = "20s"
for = "5s"

[patience]                            # the product's own figures, unless others are tried
lease = "10s"
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from p2pdo.simulation.links import units
from p2pdo.simulation.links.compute import read_compute
from p2pdo.simulation.links.delay import read_delay

Seconds = Annotated[float, BeforeValidator(units.seconds)]
Rate = Annotated[float, BeforeValidator(units.bytes_per_second)]
Share = Annotated[float, Field(ge=0, lt=1)]
Node = Annotated[int, Field(ge=0)]
Nodes = Annotated[list[Node], Field(min_length=1)]

MEASURED = "measured"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class MatrixTable(Strict):
    """Delays that were measured.

    Attributes:
        matrix: a file, see `links.measured`; relative to this one.
        unit: of its numbers.
        round_trip: whether they are of there and back, as ping tells; half is taken.
        sigma: standard deviation of the logarithm of a delay, around its entry.
    """

    matrix: Path
    unit: Seconds = 1e-3
    round_trip: bool = True
    sigma: float = Field(default=0.0, ge=0, lt=10)


AS_TABLE, AS_TEXT = "(table)", "(text)"  # how Pydantic tells which of the two it has read
Delays = Annotated[
    Annotated[MatrixTable, Tag(AS_TABLE)]
    | Annotated[Any, BeforeValidator(read_delay), Tag(AS_TEXT)],
    Discriminator(lambda written: AS_TABLE if isinstance(written, dict) else AS_TEXT),
]


def _compute(written: Any) -> Any:
    return written if written == MEASURED else read_compute(written)


class LinkTable(Strict):
    """What a link does; see `links.weather`."""

    delay: Delays | None = None
    bandwidth: Rate | None = None
    loss: Share | None = None
    resend: Seconds | None = None
    duplicate: Share | None = None
    reorder: Share | None = None
    cut: Share | None = None
    outage: Seconds | None = None


class EdgeTable(LinkTable):
    """One that has something of its own."""

    between: tuple[Node, Node] | None = None
    source: Node | None = Field(default=None, alias="from")
    to: Node | None = None

    @model_validator(mode="after")
    def _is_one(self) -> EdgeTable:
        one_way = self.source is not None and self.to is not None
        if (self.between is None) != one_way or (self.source is None) != (self.to is None):
            raise ValueError("say which: between = [0, 1], or from = 0 and to = 1")
        if self.ends[0] == self.ends[1]:
            raise ValueError("a node has no link to itself")
        return self

    @property
    def ends(self) -> tuple[int, int]:
        if self.between is not None:
            return self.between
        assert self.source is not None, "it was checked"
        assert self.to is not None, "it was checked"
        return self.source, self.to


class SlowTable(Strict):
    nodes: Nodes
    factor: float = Field(gt=0, allow_inf_nan=False)
    chance: float = Field(default=1.0, gt=0, le=1)


class ComputeTable(Strict):
    time: Annotated[Any, BeforeValidator(_compute)] = None
    slow: list[SlowTable] = []


class FreezeTable(Strict):
    nodes: Nodes
    lasts: Seconds = Field(alias="for")
    at: Seconds = 0.0
    every: Annotated[float, BeforeValidator(units.seconds), Field(gt=0)] | None = None


class CrashTable(Strict):
    nodes: Nodes
    at: Annotated[float, BeforeValidator(units.seconds), Field(gt=0)]  # it has to be there before
    lasts: Seconds = Field(alias="for")


class PartitionTable(Strict):
    nodes: Nodes
    at: Seconds
    lasts: Seconds = Field(alias="for")


class PatienceTable(Strict):
    lease: Seconds | None = None
    keepalive: Seconds | None = None
    grace: Seconds | None = None


class LinksFile(Strict):
    """A whole file."""

    links: LinkTable = LinkTable()
    edges: list[EdgeTable] = []
    compute: ComputeTable = ComputeTable()
    freezes: list[FreezeTable] = []
    crashes: list[CrashTable] = []
    partitions: list[PartitionTable] = []
    patience: PatienceTable = PatienceTable()
