"""A large value between two real processes: every bit, in bounded memory."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

MB = 1_000_000
RUNTIME = 100 * MB
"""Of a node, beside its values: Python, NumPy, gRPC and its buffers."""
MINUTES = pytest.mark.timeout(1200, method="thread")


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize(
    "size",
    [
        pytest.param(128 * MB, id="128 MB"),
        pytest.param(3000 * MB, id="3 GB", marks=[pytest.mark.full, MINUTES]),
    ],
)
def test_a_large_value_crosses_to_the_bit_and_in_bounded_memory(size: int) -> None:
    bound = (1 + 3) * size + RUNTIME  # of a node of degree one
    if psutil.virtual_memory().available < 6.5 * size:  # what both need at once
        pytest.skip("this machine has too little memory")
    script = str(Path(__file__).with_name("large_values.py"))
    with contextlib.ExitStack() as stack:
        members = []
        for node in (0, 1):
            member = subprocess.Popen(
                [sys.executable, script, str(node), str(size // 4)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(member.communicate)
            stack.callback(member.kill)
            members.append(member)
        addresses = [hear(member) for member in members]
        for member, address in zip(members, reversed(addresses), strict=True):
            tell(member, address)
        told = [hear(member) for member in members]
        for member in members:
            tell(member, "the end")
        assert [member.wait(60) for member in members] == [0, 0]
    for found in told:
        assert found["right"]
        assert found["peak"] <= bound, f"{found['peak'] / size:.2f} values"


def tell(member: subprocess.Popen[str], what: object) -> None:
    assert member.stdin is not None
    member.stdin.write(json.dumps(what) + "\n")
    member.stdin.flush()


def hear(member: subprocess.Popen[str]) -> Any:
    assert member.stdout is not None
    line = member.stdout.readline()
    assert line, "a node has ended"
    return json.loads(line)
