"""An error that crosses the wire is the same error."""

from __future__ import annotations

import json

import grpc
import grpc.aio
import pytest

from p2pdo.errors import (
    ConfigError,
    Conflict,
    DeadlineExceeded,
    NotEnoughNodes,
    NotFound,
    P2pdoError,
    Unreachable,
    WorkloadFailed,
    from_plain,
)
from p2pdo.wire.errors import decode_error, encode_error


def refused(code: grpc.StatusCode, details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x", hint="y"), grpc.StatusCode.INVALID_ARGUMENT),
        (NotFound("x", workload="w"), grpc.StatusCode.NOT_FOUND),
        (NotEnoughNodes("x"), grpc.StatusCode.FAILED_PRECONDITION),
        (Conflict("ä\n∇"), grpc.StatusCode.ALREADY_EXISTS),
        (WorkloadFailed("x", node="n", iteration=7), grpc.StatusCode.ABORTED),
        (P2pdoError("x"), grpc.StatusCode.INTERNAL),
    ],
)
def test_an_error_comes_back_as_it_was(error: P2pdoError, code: grpc.StatusCode) -> None:
    status, details = encode_error(error)
    assert status is code
    back = decode_error(refused(status, details))
    assert type(back) is type(error)
    assert back.to_plain() == error.to_plain()


@pytest.mark.parametrize("iteration", [float("inf"), float("nan"), "3", None, [1]])
def test_an_iteration_that_is_none_is_not_told(iteration: object) -> None:
    plain = {"code": "workload-failed", "message": "x", "iteration": iteration}
    assert from_plain(plain).iteration is None  # type: ignore[arg-type]


def test_what_crosses_is_short_and_can_be_encoded() -> None:
    error = WorkloadFailed("\udcff" + "x" * 10**6, hint="\ud800", node="n\udcff")
    for plain in (error.to_plain(), from_plain({"message": error.message}).to_plain()):
        assert len(json.dumps(plain, ensure_ascii=False).encode()) < 5000
        assert str(plain["message"]).startswith("?xxx")


def test_a_long_error_fits_into_a_header() -> None:
    _, details = encode_error(ConfigError("∇" * 100_000, hint="∇" * 100_000))
    assert len(details) <= 4000
    assert details.isascii()
    assert json.loads(details)["code"] == "config"


@pytest.mark.parametrize(
    ("code", "details", "cls"),
    [
        (grpc.StatusCode.UNAVAILABLE, "failed to connect", Unreachable),
        (grpc.StatusCode.UNAUTHENTICATED, "no token", Unreachable),
        (grpc.StatusCode.CANCELLED, "", Unreachable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", DeadlineExceeded),
        (grpc.StatusCode.UNKNOWN, "5", P2pdoError),
        (grpc.StatusCode.UNKNOWN, "[]", P2pdoError),
    ],
)
def test_what_is_not_from_us_is_told_in_our_words(
    code: grpc.StatusCode, details: str, cls: type[P2pdoError]
) -> None:
    error = decode_error(refused(code, details), "h:1")
    assert type(error) is cls
    assert "h:1" in error.message
