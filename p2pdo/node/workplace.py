"""A workplace: everything that a site offers to workloads, and one workload's share of it.

`Workplace` is made once, from the site's configuration. For each workload the client makes a
`Roster` of it: the context, the components, the filters, and executors as their first task comes.

    task ──▶ BEFORE_TASK ──▶ data filters ──▶ handler ──▶ result filters ──▶ AFTER_TASK ──▶ result
                                   └────────────┴──── failure ────┴────────────▲

A plain handler's way is one call on the workload's thread, from end to end. Where a handler is a
coroutine, nobody filters or listens, and the data are small, there is no hop to the thread at all.
BEFORE_TASK and AFTER_TASK come in pairs, whatever becomes of the task in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from p2pdo.errors import ConfigError, P2pdoError, UnknownTask, did_you_mean
from p2pdo.node.context import Abort, WorkloadContext
from p2pdo.node.events import AFTER_TASK, BEFORE_TASK, END_RUN, START_RUN, Events
from p2pdo.node.executors import (
    Executor,
    ExecutorFactory,
    Handler,
    Handlers,
    Result,
    Task,
    encode_result,
    failed_result,
)
from p2pdo.node.failures import failure
from p2pdo.node.filters import FilterStep, apply_all
from p2pdo.node.messages import Mailbox, Mailroom
from p2pdo.node.outcomes import failed, given_up, ok
from p2pdo.runtime.foreign import ENDS, as_failure, contained, is_being_cancelled
from p2pdo.runtime.supervisor import GiveUp, RestartLimit
from p2pdo.types import Plain
from p2pdo.wire.plain import decode_data, is_large

SITE = "site"
"""The executor that a workload names to have every task go to whichever executor handles it."""

_NESTED = (dict, list)  # the data in which there may be arrays to make
_CLOSING = 1.0  # seconds for an executor to close; worker processes need most of one

Make = Callable[[], Any]


@dataclass(frozen=True)
class FilterOffer:
    """How a filter is made, and for which tasks; for all where there are none named."""

    name: str
    make: Make
    tasks: Collection[str] = ()


@dataclass(frozen=True)
class Workplace:
    """What a site offers.

    Attributes:
        executors: by name, how each is made for a workload.
        tasks: which executor handles a task of this name. Invariant: exactly one does.
        topics: which executor answers messages about this. Invariant: at most one does.
        site: plain data for the site's own code.
        components: by name, how each is made for a workload.
        listeners: by event, functions of a site that are told of it.
        messages: where the members of a workload ask each other; None where they cannot.
        redacts: whether an exception's words and traceback stay at the site.
    """

    executors: Mapping[str, ExecutorFactory]
    tasks: Mapping[str, str] = field(default_factory=dict)
    topics: Mapping[str, str] = field(default_factory=dict)
    site: Mapping[str, Plain] = field(default_factory=dict)
    components: Mapping[str, Make] = field(default_factory=dict)
    data_filters: Sequence[FilterOffer] = ()
    result_filters: Sequence[FilterOffer] = ()
    listeners: Mapping[str, Sequence[Callable[..., Any]]] = field(default_factory=dict)
    messages: Mailroom | None = None
    redacts: bool = False

    @property
    def names(self) -> list[str]:
        """What a workload may name."""
        return [*self.executors, *([SITE] if self.tasks else [])]


class Roster:
    """One workload's share of a workplace, and the way of a task through it."""

    def __init__(self, workplace: Workplace, executor: str, context: WorkloadContext) -> None:
        self._workplace = workplace
        self._executor = executor
        self._bare = context
        self._events = context.events if isinstance(context.events, Events) else Events()
        self._made: dict[str, Handlers] = {}
        self._found: dict[str, tuple[Handler, bool, bool]] = {}  # by the task's name
        self._making: dict[str, asyncio.Future[Executor]] = {}
        self._failures: dict[str, RestartLimit] = {}  # to make an executor
        self._mailbox: Mailbox | None = None
        for event, listeners in workplace.listeners.items():
            for listener in listeners:
                self._events.listen(event, listener)
        self._data_filters: list[FilterStep] = []
        self._result_filters: list[FilterStep] = []
        self._has_filters = False
        self.context = context

    @property
    def needed_until_end(self) -> bool:
        """Whether other nodes may need this workload here when its own tasks are done."""
        return any(made.executor.needed_until_end for made in self._made.values())

    async def open(self) -> None:
        """Makes what the workload starts with.

        Raises:
            Exception: whatever a component, a filter or the executor raised when it was made.
        """
        workplace = self._workplace
        if workplace.messages is not None:
            self._mailbox = workplace.messages.open(
                self._bare.workload_id,
                redacts=workplace.redacts,
                handled=self._events.flush_soon,
                summon=self._summon,
            )
        with contextlib.nullcontext() if self._mailbox is None else self._mailbox.expecting():
            await self._make_first()
        await self._events.tell(START_RUN, self.context)

    async def _make_first(self) -> None:
        workplace = self._workplace
        if workplace.components or workplace.data_filters or workplace.result_filters:
            components = await self._bare.compute.run(self._make_all)
        else:
            components = {}
        self.context = replace(
            self._bare,
            site=workplace.site,
            components=components,
            events=self._events,
            mailbox=self._mailbox,
        )
        if self._mailbox is not None:
            self._mailbox.context = self.context
        self._listen(components.values())
        if self._executor != SITE:
            await self._handlers(self._executor)

    async def _summon(self, topic: str) -> None:
        """Makes the executor that answers a topic, if one of this workload does."""
        name = self._workplace.topics.get(topic)
        if name is not None and self._executor == SITE:
            await self._handlers(name)

    def _make_all(self) -> dict[str, Any]:
        place = self._workplace
        components = {name: _make("component", name, m) for name, m in place.components.items()}
        self._data_filters = [_make_filter(offer) for offer in place.data_filters]
        self._result_filters = [_make_filter(offer) for offer in place.result_filters]
        self._events.add(step.filter for step in self._data_filters + self._result_filters)
        self._has_filters = bool(self._data_filters or self._result_filters)
        return components

    async def close(self) -> None:
        """Ends what was made; all at once, so that no executor's end waits for another's."""
        if self._mailbox is not None:
            self._mailbox.close()
        await self._end_making()
        await asyncio.gather(*(self._close(name, made) for name, made in self._made.items()))

    async def _close(self, name: str, made: Handlers) -> None:
        try:
            async with asyncio.timeout(_CLOSING):
                await contained(made.executor.close())
        except Exception:
            self._bare.log.exception("executor '%s' could not be closed", name)

    async def end(self) -> None:
        """Tells the end of the run to who listens, and what was fired before."""
        try:
            self.fire(END_RUN)
            await self.flush()
        finally:
            self._events.close()

    def fire(self, event: str, **data: Any) -> None:
        """Fires on the loop; it is heard at the next `flush`."""
        self._events.fire(event, data, self.context)

    async def flush(self) -> None:
        await self._events.flush()

    # ---- a task's way ----

    async def perform(self, task: Task, abort: Abort) -> Result:
        """The task's result; a failure is one too. What it fired has been heard.

        Raises:
            GiveUp: the executor cannot go on.
        """
        context = self.context
        try:
            handler, is_async, wants = self._found.get(task.name) or await self._find(task)
            if wants or self._has_filters or self._events.has_listeners or not is_async:
                context = context.for_task(abort)  # else nobody sees it
            if is_async:
                payload = await self._perform_on_loop(handler, wants, task, context)
            else:
                payload = await context.compute.run(
                    self._perform_here, handler, wants, task, context
                )
            result = Result(task.task_id, task.workload_id, task.attempt, True, payload)
        except GiveUp:
            raise
        except ENDS as end:
            result = self._told(task, as_failure(end))
        except Exception as error:  # noqa: BLE001 - a handler may raise anything; it is told whole
            result = self._told(task, error)
        if self._events.is_pending:
            await self._events.flush()
        return result

    def _told(self, task: Task, error: Exception) -> Result:
        result = self.failed(task, error)
        # An executor may keep its failure, and a failure keeps the variables of every call
        # that it left: states and values, until some collection of garbage finds the circle.
        traceback.clear_frames(error.__traceback__)
        return result

    def failed(self, task: Task, error: Exception) -> Result:
        redacted = self._workplace.redacts
        is_plain = isinstance(error, P2pdoError) and not redacted
        self._bare.log.log(
            logging.ERROR
            if redacted
            else logging.INFO,  # whoever sent it is told all of it, or not
            "task '%s' failed%s",
            task.name,
            f": {error}" if is_plain else "",
            exc_info=None if is_plain else error,
        )
        told = failure(error, node=self._bare.node, workload=task.workload_id, redacted=redacted)
        return failed_result(task, told)

    async def _perform_on_loop(
        self, handler: Handler, wants: bool, task: Task, context: WorkloadContext
    ) -> str:
        """Fires on the loop alone, so that no cancellation comes between a task and its end."""
        run = context.compute.run
        if isinstance(task.payload, _NESTED):
            task = await run(_decoded, task) if is_large(task.payload) else _decoded(task)
        self._events.fire(BEFORE_TASK, {"task": task}, context)
        try:
            if self._events.is_pending:
                await self._events.flush()
            if self._data_filters:
                task = await run(self._filtered, task, context)
            value = await (handler(task, context) if wants else handler(task))  # type: ignore[misc]
            if self._result_filters or is_large(value):
                value, text = await run(self._leave, value, task, context)
            else:
                text = encode_result(value)
        except BaseException as error:
            is_over = context.abort.is_set or is_being_cancelled()
            self._fire_failure(task, error, context, is_over=is_over)
            raise
        self._fire_return(task, value, context)
        return text

    def _perform_here(
        self, handler: Handler, wants: bool, task: Task, context: WorkloadContext
    ) -> str:
        """On the workload's thread, from end to end."""
        context.abort.check()  # the thread may have been busy with what looks at no abort
        task = _decoded(task)
        self._events.fire(BEFORE_TASK, {"task": task}, context)
        try:
            task = self._filtered(task, context)
            value = handler(task, context) if wants else handler(task)
            value, text = self._leave(value, task, context)
        except BaseException as error:
            self._fire_failure(task, error, context, is_over=context.abort.is_set)
            raise
        self._fire_return(task, value, context)
        return text

    def _fire_return(self, task: Task, value: Any, context: WorkloadContext) -> None:
        is_dropped = context.abort.is_set  # its driver has been told that it was aborted
        how = given_up(task, context) if is_dropped else ok(task, value)
        self._events.fire(AFTER_TASK, how, context)

    def _fire_failure(
        self, task: Task, error: BaseException, context: WorkloadContext, *, is_over: bool
    ) -> None:
        if self._events.is_heard(AFTER_TASK):  # to write a traceback takes a millisecond
            how = given_up(task, context) if is_over else failed(task, error, context)
            self._events.fire(AFTER_TASK, how, context)

    def _filtered(self, task: Task, context: WorkloadContext) -> Task:
        steps = [step for step in self._data_filters if step.concerns(task.name)]
        data = apply_all(steps, task.payload, task, context, "task-data")
        return task if data is task.payload else replace(task, payload=data)

    def _leave(self, value: Any, task: Task, context: WorkloadContext) -> tuple[Any, str]:
        """What passes the result filters, and how it travels."""
        steps = [step for step in self._result_filters if step.concerns(task.name)]
        value = apply_all(steps, value, task, context, "task-result")
        return value, encode_result(value)

    # ---- executors ----

    async def _find(self, task: Task) -> tuple[Handler, bool, bool]:
        """The task's handler; its executor is made if it is the first for it.

        Raises:
            UnknownTask: nobody here handles it.
        """
        name = self._executor
        if name == SITE:
            name = self._workplace.tasks.get(task.name, "")
        found = (await self._handlers(name)).get(task.name) if name else None
        if found is not None:
            self._found[task.name] = found
            return found
        if self._executor == SITE:
            message = f"nobody at this node handles task '{task.name}'"
            known = sorted(self._workplace.tasks)
        else:
            message = f"executor '{self._executor}' has no task '{task.name}'"
            known = sorted(self._made[name].table)
        raise UnknownTask(message, hint=did_you_mean(task.name, known))

    async def _handlers(self, name: str) -> Handlers:
        """An executor's; makes it if need be.

        An abort ends a task's wait for it and not the making, which may take longer than any
        task's deadline: the next task goes on waiting.
        """
        if name not in self._made:
            try:
                made = await self._maker(name)
            except Exception as error:
                if self._executor == SITE:  # else the client has not begun: its supervisor counts
                    self._count(name, error)
                raise
            if name not in self._made:  # a task and a message may have waited for it
                self._made[name] = Handlers.of(made)
                self._listen([made])
        return self._made[name]

    async def _maker(self, name: str) -> Executor:
        """An executor; it is being made, or is made now, or its making begins."""
        making = self._making.get(name)
        if making is None:  # known before the first wait: who comes meanwhile waits for the same
            making = self._making[name] = asyncio.ensure_future(self._make(name))
        try:
            return await asyncio.shield(making)
        finally:
            if making.done():
                self._making.pop(name, None)

    async def _make(self, name: str) -> Executor:
        made = await contained(self._begin(name))
        return await contained(made) if inspect.isawaitable(made) else made

    async def _begin(self, name: str) -> Executor | Awaitable[Executor]:
        return self._workplace.executors[name](self.context)

    async def _end_making(self) -> None:
        """Of an executor that no task has waited for to the end."""
        for name, making in self._making.items():
            making.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                self._made[name] = Handlers.of(await making)

    def _count(self, name: str, error: Exception) -> None:
        limit = self._failures.setdefault(name, RestartLimit())
        if not limit.allows(asyncio.get_running_loop().time()):
            words = "" if self._workplace.redacts else f": {error}"
            raise GiveUp(
                f"executor '{name}' could not be made more than {limit.restarts} times within "
                f"{limit.within:g} s, at last: {type(error).__name__}{words}",
                hint="look at the log of this node",
            ) from error

    def _listen(self, things: Iterable[object]) -> None:
        """Finds who listens to events, and who answers messages."""
        listening = list(things)
        self._events.add(listening)
        if self._mailbox is not None:
            self._mailbox.add(listening)


def _make(kind: str, name: str, make: Make) -> Any:
    try:
        return make()
    except Exception as error:
        raise ConfigError(
            f"{kind} '{name}' cannot be made: {type(error).__name__}: {error}",
            hint=f"correct its arguments in the node's configuration, [{kind}s.{name}]",
        ) from error


def _make_filter(offer: FilterOffer) -> FilterStep:
    return FilterStep(offer.name, _make("filter", offer.name, offer.make), offer.tasks)


def _decoded(task: Task) -> Task:
    if not isinstance(task.payload, _NESTED):
        return task
    return replace(task, payload=decode_data(task.payload))
