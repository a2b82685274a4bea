"""What a workload is asked to be: the specification that a submitter sends, checked on arrival.

Plain data only; the algorithm and the problem are named, never shipped. Mistakes are told all at
once, each with its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from p2pdo.errors import ConfigError

LaneName: TypeAlias = Literal["auto", "grpc", "shared-memory"]
Count: TypeAlias = Annotated[int, Field(ge=1, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProblemSpec(_Strict):
    """A problem that the site has installed, or the parts that a local run's launcher wrote.

    `name` is looked up in the site's catalogue. `parts` is a folder of safetensors files, one a
    node, and is accepted only by nodes that this user's own launcher started.
    """

    name: str
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    parts: str | None = None


class AlgorithmSpec(_Strict):
    """An algorithm by its catalogue name; `where` (module:qualname) in a local run only."""

    name: str
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    where: str | None = None


class OptimizationSpec(_Strict):
    """A run of one algorithm on one problem over some nodes.

    Attributes:
        nodes: how many, or which by name, in index order.
        topology: a name of the catalogue, or what `graphs.files` parses.
        weights: a name, or None for the default of that graph.
        start: "zeros" or "normal"; None is the algorithm's own default.
        observe_every: iterations between metrics.
        record: what each node keeps a history of, at its site: "x", at observed iterations.
        observer: where a local run's launcher receives the states.
        lane: how values go between neighbours; auto is by shared memory where they can.
        codec: of what is mixed, as NAME[:NUMBER][,step=γ].
        settle: stop where no node's x moves by more than this in an iteration.
        timeline: how many spans of its time each node keeps for a local run's launcher.
        monitor: at which iterations what the algorithm keeps is looked at: all multiples of a
            number, every one, those of `observe_every`, or none.
        max_staleness: wake-ups by which a node of an asynchronous algorithm may be ahead of what it
            last heard of a neighbour.
    """

    kind: Literal["optimization"] = "optimization"
    problem: ProblemSpec
    algorithm: AlgorithmSpec
    nodes: int | list[str] = Field(default=8)
    topology: JsonValue = "ring"
    weights: str | None = None
    rounds: int = Field(default=1000, ge=0)
    observe_every: int = Field(default=50, ge=1)
    start: Literal["zeros", "normal"] | None = None
    seed: int = Field(default=0, ge=0)
    partition: str = "iid"
    dtype: Literal["float64", "float32"] = "float64"
    return_states: bool = False
    record: list[Literal["x"]] = Field(default_factory=list)
    observer: str | None = None
    lane: LaneName = "auto"
    codec: str = "none"
    tol: float | None = Field(default=None, gt=0)
    settle: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    timeline: int | None = Field(default=None, ge=1)
    max_staleness: int = Field(default=4, ge=1)
    monitor: Literal["off", "observed", "every"] | Count = "off"

    @property
    def monitor_every(self) -> int | None:
        """Iterations between two looks; None: nobody looks."""
        return iterations_between_looks(self.monitor, self.observe_every)


class RoleSpec(_Strict):
    """Some of a workload's nodes, and who handles its tasks there."""

    nodes: list[str] = Field(min_length=1)
    executor: str = "site"


class ParticipantRef(_Strict):
    """A participant by the name that the sites know; `where` (module:qualname) in a local run."""

    name: str
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    where: str | None = None


class ParticipantSpec(_Strict):
    """A run of a participant over some nodes.

    Attributes:
        nodes, topology, weights, lane: as of an optimization.
        rounds: the limit.
        observe_every: rounds between metrics.
        record: the names of which each node keeps a history, at its site.
        checkpoints: a name under which runs go on from each other's checkpoints; None: this run's.
    """

    kind: Literal["participant"] = "participant"
    participant: ParticipantRef
    nodes: int | list[str] = Field(default=8)
    topology: JsonValue = "ring"
    weights: str | None = None
    rounds: int = Field(default=100, ge=0)
    observe_every: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0)
    record: list[str] = Field(default_factory=list)
    lane: LaneName = "auto"
    checkpoints: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")


class TasksSpec(_Strict):
    """A workload whose tasks are sent one by one, by its submitter or by a controller.

    Attributes:
        executor: who handles them at the nodes; "site" is whoever there handles a task's name.
        roles: nodes with another executor than that.
        controller: a controller of the coordinator's, which sends the tasks; its result is the
            workload's.
        parameters: the controller's.
        keep: it stays open also when nobody has watched it for long.
    """

    kind: Literal["tasks"] = "tasks"
    executor: str = "site"
    nodes: list[str] = Field(min_length=1)
    roles: dict[str, RoleSpec] = Field(default_factory=dict)
    controller: str | None = None
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    keep: bool = False

    @model_validator(mode="after")
    def _one_role_a_node(self) -> TasksSpec:
        taken: dict[str, str] = {}
        for name, role in self.roles.items():
            for node in role.nodes:
                if node not in self.nodes:
                    raise ValueError(f"role '{name}' names '{node}', which is not among the nodes")
                if node in taken:
                    raise ValueError(f"node '{node}' has two roles, '{taken[node]}' and '{name}'")
                taken[node] = name
        return self

    def executor_at(self, node: str) -> str:
        """Who handles this workload's tasks at that node."""
        roles = (role for role in self.roles.values() if node in role.nodes)
        return next((role.executor for role in roles), self.executor)


def iterations_between_looks(monitor: str | int, observe_every: int) -> int | None:
    """Of a monitor, as it is asked for; None: nobody looks."""
    if isinstance(monitor, int):
        return monitor
    return {"every": 1, "off": None}.get(monitor, observe_every)


Spec: TypeAlias = OptimizationSpec | ParticipantSpec | TasksSpec
_KINDS: Mapping[Any, type[Spec]] = {"participant": ParticipantSpec, "tasks": TasksSpec}


def parse_spec(data: Any) -> Spec:
    """The specification in `data`.

    Raises:
        ConfigError: with every mistake and its place.
    """
    kind = data.get("kind", "optimization") if isinstance(data, Mapping) else None
    model = _KINDS.get(kind, OptimizationSpec) if isinstance(kind, str) else OptimizationSpec
    try:
        return model.model_validate(data)
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(str(part) for part in item['loc']) or 'specification'}: {item['msg']}"
            for item in error.errors()
        )
        raise ConfigError(
            f"the workload's specification is wrong: {mistakes}", hint="correct these and resubmit"
        ) from None
