"""Which nodes take part in a workload: those that are named, or so many of those that are up."""

from __future__ import annotations

from collections.abc import Mapping

from p2pdo.config import OptimizationSpec, Spec
from p2pdo.coordinator.nodes import NodeRecord, Registry
from p2pdo.errors import ConfigError, NotEnoughNodes
from p2pdo.types import NodeId

_SHOWN = 20  # nodes in an error


def choose(spec: Spec, nodes: Registry) -> list[NodeRecord]:
    """The nodes for a specification, in index order.

    Raises:
        NotEnoughNodes: too few are up, or one that is named is not.
        ConfigError: a node is named twice, or a site does not let states leave.
    """
    if isinstance(spec.nodes, int):
        chosen = _first(spec.nodes, nodes)
    else:
        up = {str(node.name): node for node in nodes.up()}
        chosen = [_named(name, up, nodes) for name in spec.nodes]
        if not chosen or len({node.name for node in chosen}) < len(chosen):
            raise ConfigError(
                "a workload's nodes are at least one, each named once", hint="correct the list"
            )
    if isinstance(spec, OptimizationSpec) and spec.return_states:
        for node in chosen:
            _require_states(node)
    return chosen


def _first(count: int, nodes: Registry) -> list[NodeRecord]:
    if count < 1:
        raise ConfigError("a workload needs at least one node", hint="--nodes 8")
    up = nodes.up()
    if len(up) < count:
        raise NotEnoughNodes(
            f"{count} nodes are asked for, {len(up)} are up",
            hint="start more with p2pdo-node, or ask for fewer with --nodes",
        )
    return list(up)[:count]


def _named(name: str, up: Mapping[str, NodeRecord], nodes: Registry) -> NodeRecord:
    if name in up:
        return up[name]
    names = ", ".join(list(up)[:_SHOWN]) or "none"
    known = nodes.get(NodeId(name))
    if known is not None and known.is_up and known.is_draining:
        raise NotEnoughNodes(
            f"node '{name}' is draining: it takes no new workload",
            hint=f"name another; up are: {names}",
            node=name,
        )
    raise NotEnoughNodes(
        f"node '{name[:80]}' is not up", hint=f"start it; up are: {names}", node=name[:80]
    )


def _require_states(node: NodeRecord) -> None:
    if not node.return_states:
        raise ConfigError(
            f"node {node.name} does not let states leave its site",
            hint="submit without --return-states, or without that node",
            node=node.name,
        )
