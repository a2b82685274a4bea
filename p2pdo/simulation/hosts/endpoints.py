"""Where calls begin and where they are served: gRPC's channels and servers, simulated."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from p2pdo.simulation.hosts.calls import ClientCall, Deserialize, Serialize, ServedCall
from p2pdo.simulation.hosts.network import HostNetwork, Way
from p2pdo.transports import rpc

CONNECT = 5.0
"""Seconds for an attempt to connect: see `transports.rpc`."""


class Ports:
    """Who listens where, and what went wrong in handlers."""

    def __init__(self) -> None:
        self.servers: dict[str, SimulatedServer] = {}
        self.bugs: list[Exception] = []
        self._next = 20_000

    def take(self, address: str, server: SimulatedServer) -> int:
        """The port, chosen where 0 is asked for; 0 where it is in use."""
        host, port = rpc.split_address(address)
        if port == 0:
            self._next += 1
            port = self._next
        if f"{host}:{port}" in self.servers:
            return 0
        self.servers[f"{host}:{port}"] = server
        return port


class SimulatedServer:
    """`grpc.aio.Server`."""

    def __init__(self, network: HostNetwork, ports: Ports, name: str, token: str | None) -> None:
        self.name = name
        self._network = network
        self._ports = ports
        self._token = token
        self._handlers: list[Any] = []
        self._tasks: dict[asyncio.Task[None], ServedCall] = {}
        self._is_serving = False

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """What generated code says a second time."""

    def add_insecure_port(self, address: str) -> int:
        return self._ports.take(address, self)

    async def start(self) -> None:
        self._is_serving = True

    async def stop(self, grace: float | None) -> None:
        """Takes no more calls; those in progress have `grace` seconds."""
        self.unbind()
        if self._tasks and grace:
            await asyncio.wait(list(self._tasks), timeout=grace)
        calls = list(self._tasks.items())
        for task, call in calls:
            call.finish(grpc.StatusCode.CANCELLED, "the server is stopped")
            task.cancel()
        await asyncio.gather(*(task for task, _ in calls), return_exceptions=True)

    def die(self) -> None:
        """Ends without a word to anybody."""
        self.unbind()
        for task, call in list(self._tasks.items()):
            call.client_is_gone()
            task.cancel()

    def unbind(self) -> None:
        self._is_serving = False
        bound = self._ports.servers
        for address in [address for address, server in bound.items() if server is self]:
            del bound[address]

    def open(
        self, client: ClientCall, method: str, token: str | None, first: bytes | None, echo: bool
    ) -> None:
        """A call has come, with its one request where it has only one."""
        if not self._is_serving:
            client.finished(grpc.StatusCode.UNAVAILABLE, "failed to connect: connection refused")
            return
        call = ServedCall(self._network, client, is_echo=echo)
        if not echo:
            client.served = call
        if first is not None:
            call.take(first)
            call.half_close()
        handler = _find(self._handlers, method)
        if handler is None or (self._token and token != self._token):
            refusal = (grpc.StatusCode.UNIMPLEMENTED, "no such method")
            if handler is not None:
                refusal = (grpc.StatusCode.UNAUTHENTICATED, "this run's token was not shown")
            call.finish(*refusal)
            return
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._serve(call, handler), name=f"{method} at {self.name}")
        call.task = task
        self._tasks[task] = call
        task.add_done_callback(self._tasks.pop)
        call.welcome()  # at last: the link may be cut under it

    async def _serve(self, call: ServedCall, handler: Any) -> None:
        try:
            await call.serve(handler)
        except (grpc.aio.AbortError, grpc.aio.UsageError):
            pass  # it has been told; or nobody is there any more
        except asyncio.CancelledError:
            call.finish(grpc.StatusCode.CANCELLED, "the handler was cancelled")
        except Exception as bug:  # noqa: BLE001 - as gRPC does; whoever runs the simulation looks
            self._ports.bugs.append(bug)
            call.finish(grpc.StatusCode.UNKNOWN, f"Unexpected {type(bug)}: {bug}")


@dataclass(frozen=True, slots=True)
class _Method:
    details: str

    @property
    def method(self) -> str:
        return self.details

    invocation_metadata: tuple[()] = ()


def _find(handlers: Sequence[Any], method: str) -> Any:
    found = (handler.service(_Method(method)) for handler in handlers)
    return next((handler for handler in found if handler is not None), None)


class SimulatedChannel:
    """`grpc.aio.Channel`."""

    def __init__(
        self,
        network: HostNetwork,
        ports: Ports,
        name: str,
        address: str,
        is_alive: Callable[[], bool],
    ) -> None:
        self._network = network
        self._ports = ports
        self._name = name
        self._address = address
        self._is_alive = is_alive
        self._calls: dict[ClientCall, None] = {}
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:  # noqa: ARG002 - gRPC's
        self._is_closed = True
        for call in list(self._calls):
            call.cancel()

    def unary_unary(
        self,
        method: str,
        request_serializer: Serialize = bytes,
        response_deserializer: Deserialize = bytes,
        **_: object,
    ) -> Callable[..., ClientCall]:
        codec = (request_serializer, response_deserializer)
        return functools.partial(self._begin, method, codec, is_unary=True, is_answered=True)

    def unary_stream(
        self,
        method: str,
        request_serializer: Serialize = bytes,
        response_deserializer: Deserialize = bytes,
        **_: object,
    ) -> Callable[..., ClientCall]:
        codec = (request_serializer, response_deserializer)
        return functools.partial(self._begin, method, codec, is_unary=True)

    def stream_unary(
        self,
        method: str,
        request_serializer: Serialize = bytes,
        response_deserializer: Deserialize = bytes,
        **_: object,
    ) -> Callable[..., ClientCall]:
        return functools.partial(self._begin, method, (request_serializer, response_deserializer))

    stream_stream = stream_unary

    def _begin(
        self,
        method: str,
        codec: tuple[Serialize, Deserialize],
        request: Any = None,
        *,
        timeout: float | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        is_unary: bool = False,
        is_answered: bool = False,
    ) -> ClientCall:
        if self._is_closed:
            raise grpc.aio.UsageError("Channel is closed.")
        server = self._ports.servers.get(self._address)
        at = server.name if server is not None else f"nobody@{self._address}"
        about = f"{self._name} {at} {method.rpartition('/')[2]}"
        ways = (Way(self._name, at, f"{about} >"), Way(at, self._name, f"{about} <"))
        call = ClientCall(self._network, ways, *codec)
        self._calls[call] = None
        self._calls = {call: None for call in self._calls if not call.done()}
        if timeout is not None:
            call.end_after(timeout)
        first = codec[0](request) if is_unary else None
        if not self._is_alive():
            call.break_off("this host is dead")
        elif self._network.is_refused(self._name, at):
            call.break_off("failed to connect: no route to host")
        else:
            self._connect(call, method, dict(metadata).get(rpc.TOKEN_KEY), first)
            if is_answered and self._network.is_made_twice(self._name, at):
                self._open(call, method, dict(metadata).get(rpc.TOKEN_KEY), first, echo=True)
            if isinstance(request, AsyncIterable) and not is_unary:
                call.feeding = asyncio.get_running_loop().create_task(_feed(call, request))
        return call

    def _connect(
        self, call: ClientCall, method: str, token: str | None, first: bytes | None
    ) -> None:
        silent = self._network.silent_for(self._name, call.up.receiver)
        if silent > CONNECT:
            loop = asyncio.get_running_loop()
            loop.call_later(CONNECT, call.break_off, "failed to connect: timed out")
        self._open(call, method, token, first, echo=False)

    def _open(
        self, call: ClientCall, method: str, token: str | None, first: bytes | None, *, echo: bool
    ) -> None:
        def arrive(_data: bytes) -> None:
            server = self._ports.servers.get(self._address)
            if server is None or server.name != call.up.receiver:
                call.break_off("failed to connect: connection refused")
            elif not (echo and call.done()):
                server.open(call, method, token, first, echo)

        way = Way(call.up.sender, call.up.receiver, f"{call.up.about} again") if echo else call.up
        self._network.carry(way, "open", first or b"", arrive)


async def _feed(call: ClientCall, requests: AsyncIterable[Any]) -> None:
    """Writes what an iterator yields, as gRPC does for a caller who gave one."""
    try:
        async for request in requests:
            await call.write(request)
        await call.done_writing()
    except asyncio.InvalidStateError:
        pass  # the call is over, and says why
