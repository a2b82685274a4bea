"""Taking part: one node's participant, on its thread, over the exchange that algorithms use.

    thread   function(me) ── me.mix ──▶ wait ····························▶ goes on
    loop                                 └─▶ exchanger.exchange ──────────┘

The first cause is the one that is told: if the exchange has been ended, by an abort, a lost peer
or neighbours that disagree, then whatever the function raises is a consequence of that. Otherwise
it is the function's own failure, told with its node, its round, its line and its words.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping

from p2pdo.errors import P2pdoError, WorkloadFailed, WorkloadStopped
from p2pdo.participants.me import Me, Outcome, Part, Progress
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.stepper import line_of
from p2pdo.runtime.exchange import Exchanger
from p2pdo.runtime.stages import Stage, WaitFor
from p2pdo.types import Value

log = logging.getLogger(__name__)

Tell = Callable[[Progress], None]


async def take_part(part: Part, exchanger: Exchanger, stage: Stage, tell: Tell) -> Outcome:
    """Runs the participant to its end; `tell` is called on the loop.

    Raises:
        WorkloadFailed: the function went wrong; says where.
        P2pdoError: what ended the exchange.
    """
    loop = asyncio.get_running_loop()
    try:
        outcome = await stage.run(
            lambda wait_for: _perform(part, _Network(exchanger, wait_for, loop, tell)),
            lambda: exchanger.fail(WorkloadStopped("the workload is over")),
        )
    except Exception:
        exchanger.check()
        raise
    exchanger.finish()
    exchanger.check()
    return outcome


def _perform(part: Part, network: _Network) -> Outcome:
    """On the participant's thread."""
    me = Me(part, network)
    try:
        returned = part.participant.function(me, **part.parameters)
        for name in me.unrecorded:
            log.warning(
                "there is no history of '%s' at %s: participant %s never called me.record(%s=…)",
                *(name, me.name, part.participant.name, name),
            )
        return me.end(returned)
    except P2pdoError as error:
        error.node = error.node or me.name
        error.iteration = me.round if error.iteration is None else error.iteration
        raise
    except (Exception, SystemExit) as error:
        raise _failure(me, part, error) from error
    finally:
        me.close()


def _failure(me: Me, part: Part, error: BaseException) -> WorkloadFailed:
    words = str(error)
    told = f"{type(error).__name__}: {words}" if words else type(error).__name__
    where = line_of(error) or f": {inspect.getsourcefile(part.participant.function)}"
    return WorkloadFailed(
        told,
        hint=f"look at the participant {part.participant.name} of {me.name}{where}",
        node=me.name,
        iteration=me.round,
    )


class _Network:
    """`me.Network`: carries questions from the thread to the loop."""

    def __init__(
        self,
        exchanger: Exchanger,
        wait_for: WaitFor,
        loop: asyncio.AbstractEventLoop,
        tell: Tell,
    ) -> None:
        self._exchanger = exchanger
        self._wait_for = wait_for
        self._loop = loop
        self._tell = tell

    @property
    def is_over(self) -> bool:
        return self._exchanger.has_failed

    def check(self) -> None:
        self._exchanger.check()

    def exchange(self, outgoing: Outgoing) -> Mapping[int, Value]:
        """By memory on this thread, by the link on the loop; the first time, after settling."""
        exchanger, wait_for = self._exchanger, self._wait_for
        if not exchanger.is_settled:
            wait_for(exchanger.settled)
        lane = exchanger.lane
        if lane is None:
            inbox: Mapping[int, Value] = wait_for(lambda: exchanger.exchange(outgoing))
            return inbox
        exchanger.at(outgoing.tag.iteration)
        while not lane.publish(outgoing):
            pass
        remote = wait_for(lambda: exchanger.exchange(outgoing)) if exchanger.has_links else {}
        while (local := lane.collect(outgoing.tag)) is None:
            pass
        return {**remote, **local}

    def tell(self, progress: Progress) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, progress)
