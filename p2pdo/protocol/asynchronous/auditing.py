"""Holds each node's running sums to its ledger while a run lasts.

No node needs another one for that, and nothing leaves it: what it holds of a sum, with all that it
has sent and less all that it has received, is what it began with, at any moment. What rounding
leaves grows with the wake-ups and with the largest entry that the state or a sum has had:

    tolerance at wake-up k = 1e-10 (k + 1) max |entry|
"""

from __future__ import annotations

from typing import Any

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm, Channel
from p2pdo.algorithms.catalogue import name_of
from p2pdo.errors import ConfigError, InvariantBroken
from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.monitoring import SLACK, largest_entry


class Auditor:
    """One member's."""

    def __init__(self, every: int) -> None:
        """Looks after each multiple of `every` wake-ups."""
        self._every = every
        self._largest = 0.0

    def look(self, member: Member[Any]) -> None:
        """After a wake-up.

        Raises:
            InvariantBroken: the books do not balance; says node and wake-up.
        """
        if member.wakes % self._every:
            return
        balances = member.balances()
        sizes = [balance.size for balance in balances.values()]
        self._largest = max(self._largest, largest_entry(member.state), *sizes)
        tolerance = SLACK * (member.wakes + 1) * self._largest
        for name, balance in balances.items():
            if balance.off > tolerance:
                raise InvariantBroken(
                    f"the ledger of '{name}' is broken at {member.place.name}: what it holds and "
                    f"has sent, less what it has received, is off by {balance.off:.3g} after "
                    f"wake-up {member.wakes}, where rounding explains {tolerance:.1g}",
                    hint="look at wake() and receive(): what is sent leaves what mass() tells, "
                    "what comes is added to it; --monitor off runs on",
                    node=member.place.name,
                    iteration=member.wakes,
                )


def has_ledger(cls: type[AsynchronousAlgorithm[Any]]) -> bool:
    """Whether something of what it sends adds up."""
    return Channel.RUNNING_SUM in cls.channels.values()


def auditor_of(algorithm: AsynchronousAlgorithm[Any], every: int | None) -> Auditor | None:
    """One node's, if there is something to look at and somebody who wants to."""
    return None if every is None or not has_ledger(type(algorithm)) else Auditor(every)


def require_ledger(cls: type[AsynchronousAlgorithm[Any]]) -> None:
    """Refuses to look where there is nothing to see.

    Raises:
        ConfigError: the method has no running sums.
    """
    if not has_ledger(cls):
        raise ConfigError(
            f"{name_of(cls)} sends no running sums, so its nodes keep no ledger: there is nothing "
            "to monitor",
            hint="leave --monitor out",
        )
