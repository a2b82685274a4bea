"""gRPC as p2pdo uses it: servers, channels, the token, the settings. The only place for them.

Every connection of a local run shows a token in its metadata, because others share a machine's
loopback; a server that was given a token refuses each call without it before any handler runs.
Without certificates a server binds to loopback only.

Settings, with their reasons:

- *Keepalive* 10 s / 5 s and `http2.ping_timeout_ms` 5 s. Keepalive alone does not bound how late a
  frozen peer is noticed: with its defaults the ping time-out rules and takes a minute.
  Between calls nobody pings: a server takes that for an attack, whatever it is told to permit, and
  cuts the client off after half a minute with "too many pings". Within calls a server counts no
  *ping strikes* (0: none): keepalive and gRPC's own bandwidth probes together broke long watches.
- *Reconnect back-off* 100 ms to 1 s: the default maximum of two minutes would outlast a run. The
  minimum is how long one attempt may take: a busy machine needs more than the back-off.
- *Messages up to 8 MiB*: values above 4 MiB go in chunks.
- *`so_reuseport` off*: two servers on one port must be an error, not a lottery.

What gRPC reads from the environment, and malloc's settings, stand in `p2pdo.environment`.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
import grpc.aio

from p2pdo.errors import ConfigError, Conflict

TOKEN_KEY = "p2pdo-token"  # noqa: S105 - the name of the metadata entry
_MESSAGE_LIMIT = 8 * 1024 * 1024
_COMMON = [
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
]
_SERVER = [
    *_COMMON,
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
]
_CHANNEL = [
    *_COMMON,
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
]

BROKEN = (grpc.RpcError, grpc.aio.InternalError, grpc.aio.UsageError, asyncio.InvalidStateError)
"""What reading or writing a stream raises that has broken, or has ended at the other end."""

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any] | None"


class _RequireToken(grpc.aio.ServerInterceptor):
    """Refuses a call that does not show the token; its handler never sees it."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        shown = dict(handler_call_details.invocation_metadata).get(TOKEN_KEY, "")
        shown_bytes = shown.encode() if isinstance(shown, str) else shown
        handler = await continuation(handler_call_details)
        if handler is None or hmac.compare_digest(shown_bytes, self._token):
            return handler
        return _refusal(handler)


def _refusal(handler: grpc.RpcMethodHandler[Any, Any]) -> _Handler:
    """A handler of the same shape that only refuses."""

    async def refuse(_request: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "this run's token was not shown")

    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[bool(handler.request_streaming), bool(handler.response_streaming)]
    return make(refuse)


def make_server(token: str | None) -> grpc.aio.Server:
    """A server that asks every call for the token, where there is one."""
    interceptors = [_RequireToken(token)] if token else []
    return grpc.aio.server(interceptors=interceptors, options=_SERVER)


def bind(server: grpc.aio.Server, address: str) -> str:
    """Binds and returns the address with the port that the system chose for port 0.

    Raises:
        Conflict: the port is in use.
    """
    host, _ = split_address(address)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if port == 0:
        raise Conflict(
            f"cannot listen on {address}: the port is in use or the address is not this machine's",
            hint="choose another port, or port 0 to have the system choose one",
        )
    return f"{host}:{port}"


def add_method(
    server: grpc.aio.Server, method: str, handler: grpc.RpcMethodHandler[bytes, bytes]
) -> None:
    """Serves raw bytes at /SERVICE/METHOD."""
    service, name = method.strip("/").split("/")
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {name: handler}),)
    )


def make_channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, options=_CHANNEL)


def metadata(token: str | None) -> Sequence[tuple[str, str]]:
    """What a call shows: the token, where there is one."""
    return ((TOKEN_KEY, token),) if token else ()


def split_address(address: str) -> tuple[str, int]:
    """HOST:PORT, checked.

    Raises:
        ConfigError: it is not of that form.
    """
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65535):  # noqa: PLR2004
        raise ConfigError(
            f"'{address}' is not an address of the form HOST:PORT",
            hint="for example 127.0.0.1:7443, or 127.0.0.1:0 for any free port",
        )
    return host, int(port)


def require_plaintext_allowed(address: str, *, insecure: bool) -> None:
    """Without certificates there is loopback, and only when asked for.

    Raises:
        ConfigError: plaintext would leave this machine, or was not asked for.
    """
    host, _ = split_address(address)
    if not is_loopback(host):
        raise ConfigError(
            f"refusing to speak plaintext on {address}: values and tasks would be readable",
            hint="listen on a loopback address such as 127.0.0.1:0 with --insecure",
        )
    if not insecure:
        raise ConfigError(
            f"refusing to speak plaintext on {address} without being asked to",
            hint="add --insecure if everyone on this machine may connect",
        )


def is_loopback(host: str) -> bool:
    bare = host.strip("[]")
    if bare == "localhost":
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False
