"""What a coordinator makes of a codec: what the nodes are told, and what it refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from p2pdo.coordinator.planning import Plan, make_machine, make_plan, read_spec
from p2pdo.coordinator.settings import Settings
from p2pdo.errors import ConfigError
from p2pdo.protocol.assignment import Member
from p2pdo.protocol.workload import Optimization
from p2pdo.types import NodeId, WorkloadId

MEMBERS = [Member(NodeId(name), f"{name}:1") for name in "abcdef"]


def planned(algorithm: str, codec: str, parameters: dict[str, Any] | None = None) -> Plan:
    text = json.dumps(
        {
            "problem": {"name": "quadratic"},
            "algorithm": {"name": algorithm, "parameters": parameters or {}},
            "nodes": len(MEMBERS),
            "codec": codec,
        }
    )
    return make_plan(read_spec(text, Settings()), text, MEMBERS)


def test_nodes_are_told_the_codec_with_its_step() -> None:
    coded, plain = planned("gradient-tracking", "top-k:0.5"), planned("gradient-tracking", "none")
    (told,) = {payload["codec"] for payload in coded.payloads}
    assert str(told).startswith("top-k:0.5,step=0.1")
    assert {payload["codec"] for payload in plain.payloads} == {"none"}
    share = [plan.resolved["safe_share"] for plan in (coded, plain)]
    assert share[0] != share[1]  # of a lazier W


def test_a_method_that_compresses_is_built_with_it() -> None:
    plan = planned("lead", "max-qsgd:7")
    assert {payload["codec"] for payload in plan.payloads} == {"none"}
    names = [member.name for member in MEMBERS]
    machine = make_machine(WorkloadId("w"), plan.spec, MEMBERS, plan.resolved)
    assert isinstance(machine, Optimization)
    assert machine.members == names
    assert machine.parameters == {"compressor": "max-qsgd:7"}


@pytest.mark.parametrize(
    ("algorithm", "codec", "says"),
    [
        ("gradient-tracking", "top-q:0.1", "unknown codec"),
        ("gradient-tracking", "sign", "needs a step"),
        ("lead", "top-k:0.1", "unbiased"),
        ("edge-admm", "fp16", "edge-admm exchanges values and combines them itself"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_node_hears_of_it(
    algorithm: str, codec: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        planned(algorithm, codec)
