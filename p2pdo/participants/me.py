"""Me: what a participant is given to speak with its neighbours and its own node.

Everything here is called on the participant's thread. `mix`, `mix_`, `exchange` and `restore` wait
for the neighbours; each of them raises what ended the workload, if something did. Code that never
calls `me` cannot be interrupted: let long work look at `me.aborted`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from p2pdo.effects import Exchange, Here, Mix
from p2pdo.errors import ConfigError, LocalProtocolError
from p2pdo.participants.checkpoints import Checkpoints, common_rounds
from p2pdo.participants.definition import NotPlain, Participant, plain_of
from p2pdo.participants.history import History
from p2pdo.participants.modules import places
from p2pdo.participants.snapshots import has_state
from p2pdo.participants.trees import is_tensor, pack, received, to_host, widened
from p2pdo.protocol.asking import Asking
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.types import Plain, Value

MOST_LOGGED = 64
"""Names that one node may log in a round."""

LONGEST_NAME = 100
RESULT_LIMIT = 60 * 1024
"""Characters of JSON; a submitter is shown no longer ones."""


@dataclass(frozen=True)
class Part:
    """One node's part in a run of a participant.

    Attributes:
        names: the neighbours' names.
        rounds: the limit.
        observe_every: rounds between two metrics.
        record: the names that are recorded; of others `me.record` keeps nothing.
        state: where this node keeps what the run leaves: its history.
        checkpoints: where it keeps its checkpoints.
    """

    participant: Participant
    parameters: Mapping[str, Any]
    place: Place
    names: Mapping[int, str]
    nodes: int
    rounds: int
    observe_every: int
    seed: int
    record: tuple[str, ...]
    state: Path
    checkpoints: Path


def folders_of(state: Path, workload: str, checkpoints: str | None) -> tuple[Path, Path]:
    """Where a node keeps a run's history, and its checkpoints."""
    return state / "workloads" / workload, state / "checkpoints" / (checkpoints or workload)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one node is, and what it has logged since it told last; None: not finite."""

    node: int
    iteration: int
    bytes_sent: int
    messages_sent: int
    logged: Mapping[str, float | None]


class Network(Protocol):
    """What stands between a participant's thread and the loop."""

    @property
    def is_over(self) -> bool:
        """Whether something has ended the workload."""

    def check(self) -> None:
        """Raises what has ended the workload, if anything has."""

    def exchange(self, outgoing: Outgoing) -> Mapping[int, Value]:
        """Waits for every in-neighbour's value; raises what ended the workload."""

    def tell(self, progress: Progress) -> None:
        """For whoever watches; does not wait."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one node's part came to.

    Attributes:
        iterations: rounds that were begun, those before a restored checkpoint included.
        result: what the function returned.
    """

    iterations: int
    bytes_sent: int
    messages_sent: int
    result: Plain


class Me:
    """A participant's view of its node and its neighbours.

    Attributes:
        name: this node's.
        node: its place in the network's list of nodes, from 0.
        nodes: how many there are.
        in_neighbors: the names of those that it hears, in node order.
        out_neighbors: the names of those that hear it.
        neighbors: both.
        weights: this node's row of the mixing matrix, by name, its own included.
        seed: the run's.
        parameters: of the participant, by name.
        round: the current one; 0 before the first.
        restored: what the checkpoint held that `restore` has loaded, by name.
    """

    def __init__(self, part: Part, network: Network) -> None:
        place = part.place
        names = {**part.names, place.node: place.name}
        self.name: str = place.name
        self.node = place.node
        self.nodes = part.nodes
        self.in_neighbors = tuple(names[j] for j in place.in_neighbors)
        self.out_neighbors = tuple(names[j] for j in place.out_neighbors)
        both = sorted({*place.in_neighbors, *place.out_neighbors})
        self.neighbors = tuple(names[j] for j in both)
        self.weights = {names[j]: weight for j, weight in place.row.entries}
        self.seed = part.seed
        self.parameters = dict(part.parameters)
        self.round = 0
        self.restored: dict[str, Any] = {}
        self._part = part
        self._network = network
        self._asking = Asking(place)
        self._here = self._make_here()
        self._done = 0  # rounds that were begun, those of earlier runs included
        self._has_begun = False
        self._logged: dict[str, float | None] = {}
        self._checkpoints = Checkpoints(part.checkpoints, part.nodes)
        self._history = History(part.state)

    # ---- rounds ----

    def rounds(self) -> Iterator[int]:
        """The rounds' numbers, from 0 or from behind the restored one, to the limit.

        Raises:
            P2pdoError: what ended the workload.
        """
        for number in range(self._done, self._part.rounds):
            self._network.check()
            if self._has_begun:
                self._tell()
            self.round = self._asking.iteration = number
            self._here = self._make_here()
            self._has_begun, self._done = True, number + 1
            yield number

    @property
    def aborted(self) -> bool:
        """Whether the workload is over: the next wait will raise."""
        return self._network.is_over

    @property
    def rng(self) -> np.random.Generator:
        """This node's generator for this round: a function of (seed, node, round)."""
        return self._here.rng

    @property
    def common_rng(self) -> np.random.Generator:
        """A generator for this round that draws the same on all nodes."""
        return self._here.common_rng

    # ---- exchanges ----

    def mix(self, value: Any) -> Any:
        """Σⱼ wᵢⱼ valueⱼ over this node and its in-neighbours, leaf by leaf; a new value.

        Takes arrays, tensors and numbers, and tuples, lists, dicts and JAX pytrees of them; gives
        the same kinds back, on the same device. What was given stays as it is.

        Raises:
            RemoteProtocolError: a neighbour's value is laid out differently; names the place.
            P2pdoError: what ended the workload.
        """
        packed = pack(self._encoded(value))
        mixed = packed.unpack(self._mix(packed.value))
        decode = self._part.participant.decode
        return mixed if decode is None else decode(mixed)

    def mix_(self, model: Any) -> None:
        """The same in place: of a torch module, or of a dict of arrays or tensors.

        Of a module all parameters travel, frozen ones too, and the floating-point buffers of its
        state_dict; buffers of integers, such as num_batches_tracked, stay this node's own.
        """
        found = places(model)
        mixed = self._mix({name: place.read() for name, place in found.items()})
        for name, place in found.items():
            place.write(mixed[name])

    def exchange(self, value: Any) -> dict[str, Any]:
        """Sends the value to all out-neighbours; every in-neighbour's, by its name.

        What comes are arrays and numbers, bfloat16 as float32, or what `decode` makes of them.
        """
        inbox = self._ask(Exchange(pack(self._encoded(value)).value))
        decode = self._part.participant.decode or (lambda theirs: theirs)
        names = self._part.names
        return {names[j]: decode(received(inbox[j])) for j in self._part.place.in_neighbors}

    def _encoded(self, value: Any) -> Any:
        encode = self._part.participant.encode
        return value if encode is None else encode(value)

    def _mix(self, value: Value) -> Any:
        return self._ask(Mix((value,)))[0]

    def _ask(self, effect: Mix | Exchange) -> Any:
        outgoing = self._asking.outgoing(effect)
        return self._asking.reply(self._network.exchange(outgoing))

    # ---- what is told and kept ----

    def log(self, **scalars: Any) -> None:
        """Tells numbers to whoever submitted the run, with the metrics of this round."""
        names = self._logged.keys() | scalars.keys()
        if len(names) > MOST_LOGGED or any(len(name) > LONGEST_NAME for name in names):
            raise LocalProtocolError(
                f"over {MOST_LOGGED} names, or one of over {LONGEST_NAME} letters, in one round",
                hint="log less; me.record keeps arrays at this site",
            )
        for name, scalar in scalars.items():
            try:
                number = float(scalar.detach() if is_tensor(scalar) else scalar)
            except (TypeError, ValueError, RuntimeError):
                raise LocalProtocolError(
                    f"log({name}=…) was given {type(scalar).__name__}, which is no number",
                    hint="log numbers; me.record keeps arrays at this site",
                ) from None
            self._logged[name] = number if math.isfinite(number) else None

    def record(self, **values: Any) -> None:
        """Keeps arrays or numbers of this round in this node's history, if it was asked for.

        History never leaves the site. `record=` of submit says which names are kept.
        """
        for name, value in values.items():
            if name in self._part.record:
                row = to_host(value) if is_tensor(value) else np.asarray(value)
                self._history.append(name, self.round, widened(row))

    def checkpoint(self, **things: Any) -> None:
        """Keeps these at this node, as what this round came to, atomically.

        Takes objects with `state_dict` (torch modules, optimizers, schedulers), arrays, tensors,
        JAX pytrees of dicts, lists and tuples, and plain data. Nothing is pickled.

        Raises:
            ConfigError: one of them cannot be kept; says which.
        """
        if not self._has_begun:
            raise LocalProtocolError(
                "checkpoint was called before the first round",
                hint="call it within: for k in me.rounds()",
            )
        self._checkpoints.write(self.round, self._asking.exchanges, things)

    def restore(self, **things: Any) -> int | None:
        """The latest round of which all nodes have a checkpoint, or None; `rounds` goes on behind.

        All nodes must call it, at the same place, as they must exchange: they agree on the round.
        What is given is loaded in place: objects with `load_state_dict`, and NumPy arrays. All
        that was kept, plain data and pytrees too, is in `me.restored`.

        Raises:
            ConfigError: the checkpoint does not hold one of the things.
        """
        if self._has_begun:
            raise LocalProtocolError(
                "restore was called within a round", hint="call it before: for k in me.rounds()"
            )
        common = np.array(self._checkpoints.rounds(), np.int64)
        for _ in range(self.nodes - 1):  # after as many exchanges everybody has heard of everybody
            theirs = self._ask(Exchange(common))
            common = common_rounds([common, *theirs.values()])
        if not common.size:
            return None
        number = int(common.max())
        self.restored, self._asking.exchanges = self._checkpoints.go_on_from(number)
        for name, thing in things.items():
            self._load(name, thing, number)
        self._done = number + 1
        return number

    def _load(self, name: str, thing: Any, number: int) -> None:
        if name not in self.restored:
            raise ConfigError(
                f"the checkpoint of round {number} has no '{name}'",
                hint=f"it has {', '.join(self.restored) or 'nothing'}",
                node=self.name,
            )
        kept = self.restored[name]
        if has_state(thing):
            thing.load_state_dict(kept)
        elif isinstance(thing, np.ndarray) and np.shape(kept) == thing.shape:
            thing[...] = kept
        else:
            raise ConfigError(
                f"'{name}' ({type(thing).__name__}) cannot be restored in place",
                hint=f"call me.restore() and take me.restored['{name}']",
                node=self.name,
            )

    # ---- for whoever runs it ----

    def end(self, returned: Any) -> Outcome:
        """Tells the last round; what the function has returned must be plain data.

        Raises:
            LocalProtocolError: it is not plain.
        """
        try:
            result = plain_of(returned)
        except NotPlain as odd:
            at = f" at {odd.where}" if odd.where else ""
            raise LocalProtocolError(
                f"what {self._part.participant.name} returned holds {odd.kind}{at}",
                hint="return plain data: numbers, text, lists and dicts of them",
            ) from None
        if len(json.dumps(result)) > RESULT_LIMIT:
            raise LocalProtocolError(
                f"what {self._part.participant.name} returned has over {RESULT_LIMIT} characters",
                hint="return a summary; me.record and me.checkpoint keep data at this site",
            )
        self._tell(is_last=True)
        asking = self._asking
        return Outcome(self._done, asking.bytes_sent, asking.messages_sent, result)

    @property
    def unrecorded(self) -> list[str]:
        """The names that were to be recorded, and nothing was."""
        return [name for name in self._part.record if name not in self._history.names]

    def close(self) -> None:
        """Closes its files."""
        self._checkpoints.close()
        self._history.close()

    def _make_here(self) -> Here:
        place = self._part.place
        return Here(self.round, place.node, place.in_neighbors, place.out_neighbors, self.seed)

    def _tell(self, *, is_last: bool = False) -> None:
        if self._done % self._part.observe_every and not is_last:
            return
        counters = (self._asking.bytes_sent, self._asking.messages_sent)
        self._network.tell(Progress(self.node, self._done, *counters, self._logged))
        self._logged = {}
