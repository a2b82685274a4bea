"""What a site lets workloads run: which algorithms and problems, and its own parameters for them.

A site's problem is a factory, called as `factory(node_index, nodes, partition, seed, dtype,
**parameters)`; it has read its private data when it returns. A name that the site does not define
is looked up in the catalogue that p2pdo brings.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from p2pdo.data import catalogue
from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.types import Plain


@dataclass(frozen=True)
class Offers:
    """A site's own problems and participants, and its word on all of them.

    Attributes:
        problems: factories by name.
        participants: functions by name.
        allowed: by kind ("algorithms", "problems", "participants") the names that may be asked
            for; a kind that is not there allows all.
        parameters: by the name of a problem or participant, values that win over the workload's.
    """

    problems: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    participants: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    allowed: Mapping[str, Collection[str]] = field(default_factory=dict)
    parameters: Mapping[str, Mapping[str, Plain]] = field(default_factory=dict)

    def require_allowed(self, kind: str, name: str) -> None:
        """Refuses what this site does not let workloads run.

        Raises:
            ConfigError: it does not.
        """
        allowed = self.allowed.get(kind)
        if allowed is not None and name not in allowed:
            raise ConfigError(
                f"this site does not allow '{name}'",
                hint=f"its {kind}: {', '.join(sorted(allowed)) or 'none'}",
            )

    def parameters_for(self, name: str, asked: Mapping[str, Plain]) -> dict[str, Plain]:
        """The workload's parameters with the site's own in their place."""
        return {**asked, **self.parameters.get(name, {})}

    def problem(
        self,
        name: str,
        node_index: int,
        nodes: int,
        *,
        partition: str,
        seed: int,
        dtype: str,
        parameters: Mapping[str, Plain],
    ) -> Any:
        """One node's cost.

        Raises:
            ConfigError: it is unknown here or not allowed, or its parameters are wrong.
        """
        self.require_allowed("problems", name)
        values = self.parameters_for(name, parameters)
        factory = self.problems.get(name)
        if factory is not None:
            return factory(node_index, nodes, partition, seed, dtype, **values)
        if name not in catalogue.PROBLEMS:
            known = [*catalogue.PROBLEMS, *self.problems]
            hint = did_you_mean(name, known)
            if name in self.participants:
                hint = f"it has a participant of that name: p2pdo submit --participant {name}"
            raise ConfigError(f"this site has no problem '{name}'", hint=hint)
        return catalogue.build(
            name, node_index, nodes, partition, seed, dtype=dtype, parameters=values
        )


EVERYTHING = Offers()
"""Of a site that defines, forbids and sets nothing."""
