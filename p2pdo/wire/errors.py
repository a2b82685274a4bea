"""Errors across gRPC: a status code for anybody, and the whole error for p2pdo.

The details of a refused call are the error as JSON, so a client raises the very error that the
coordinator met, with its hint, node, workload and iteration. A status that did not come from us
(nobody listens, no token, a proxy in between) is told in the same words as everything else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import grpc
import grpc.aio

from p2pdo.errors import (
    ConfigError,
    Conflict,
    DeadlineExceeded,
    NotEnoughNodes,
    NotFound,
    P2pdoError,
    RemoteProtocolError,
    Unreachable,
    WorkloadFailed,
    from_plain,
)
from p2pdo.types import Plain

_CODES: Mapping[type[P2pdoError], grpc.StatusCode] = {
    NotEnoughNodes: grpc.StatusCode.FAILED_PRECONDITION,  # before its base class
    ConfigError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFound: grpc.StatusCode.NOT_FOUND,
    Conflict: grpc.StatusCode.ALREADY_EXISTS,
    Unreachable: grpc.StatusCode.UNAVAILABLE,
    DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    WorkloadFailed: grpc.StatusCode.ABORTED,
    RemoteProtocolError: grpc.StatusCode.FAILED_PRECONDITION,
}
_DETAILS_LIMIT = 4000  # bytes: details travel in a header, and all headers have 8 KiB


def encode_error(error: P2pdoError) -> tuple[grpc.StatusCode, str]:
    """What to abort a call with."""
    code = next(
        (code for cls, code in _CODES.items() if isinstance(error, cls)), grpc.StatusCode.INTERNAL
    )
    return code, _to_details(error.to_plain(), longest=1000)


def _to_details(plain: Mapping[str, Plain], longest: int) -> str:
    """The error as ASCII that fits, its texts cut to `longest` characters or fewer."""
    short = {k: v[:longest] if isinstance(v, str) else v for k, v in plain.items()}
    details = json.dumps(short)
    fits = len(details) <= _DETAILS_LIMIT or longest == 0
    return details if fits else _to_details(plain, longest // 2)


def decode_error(error: grpc.aio.AioRpcError, address: str = "") -> P2pdoError:
    """The error behind a failed call to the coordinator at `address`."""
    details = error.details() or ""
    plain = _plain_in(details)
    if plain is not None:
        return from_plain(plain)
    at = f" at {address}" if address else ""
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return Unreachable(
                f"no coordinator answers{at}",
                hint="start one: p2pdo-coordinator "
                f"--listen {address or 'HOST:PORT'} --insecure --state DIR",
            )
        case grpc.StatusCode.CANCELLED:  # not by us: that would be asyncio's
            return Unreachable(
                f"the coordinator{at} broke the call off",
                hint="it is being stopped or restarted; try again",
            )
        case grpc.StatusCode.UNAUTHENTICATED:
            return Unreachable(
                f"the coordinator{at} refused us: {details}",
                hint="it belongs to another run or user; check the address",
            )
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(
                f"the coordinator{at} did not answer in time",
                hint="is it overloaded, or is its disk? its log (-v) tells; then try again",
            )
        case code:
            return P2pdoError(
                f"the call to the coordinator{at} failed: {code.name}: {details}",
                hint="run one version of p2pdo here and there; the coordinator's log tells more",
            )


def _plain_in(details: str) -> dict[str, Plain] | None:
    """The error that these details spell; None if they are somebody else's words."""
    try:
        plain = json.loads(details)
    except ValueError:
        return None
    return plain if isinstance(plain, dict) and "code" in plain else None
