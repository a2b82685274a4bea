"""How much CPU time an executor's worker processes may use: a bucket of seconds, without a clock.

    filled by `share` seconds a second, up to what PERIOD brings; emptied by what they use

While it is not overdrawn they run, and are looked at every LOOK seconds; one that is overdrawn has
them stand still until it is full again. So a process that takes all that it gets runs a little and
stands still four times as long, with a fifth of a core, and one that takes less than its share,
by little, is never stopped. What is seen late is owed: over any time in which they were looked at,

    used <= share * time + share * PERIOD + what was used since the last look

The bucket outlives processes. Those that crash and start again, which costs the more CPU time the
more they import, share one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

PERIOD = 0.1  # seconds whose share may be saved
LOOK = 0.025  # seconds between two looks at processes that run
_IDLE_LOOK = 1.0  # at most, at processes that do nothing; in that time they may overdraw most


@dataclass(frozen=True)
class Allowance:
    """A bucket at one moment.

    Attributes:
        share: of one core; more than 1 where it is several.
        at: the moment, in seconds of whatever clock it is asked by.
        credit: seconds of CPU time that may be used at once; owed, where it is negative.
    """

    share: float
    at: float = 0.0
    credit: float = 0.0

    def after(self, now: float, used: float) -> Allowance:
        """The bucket at `now`, not before `at`, when `used` seconds of CPU time were used since."""
        earned = self.share * (now - self.at)
        return replace(self, at=now, credit=min(self.credit + earned - used, self._full))

    @property
    def rest(self) -> float:
        """For how many seconds they are to stand still now; 0 where they may run."""
        return (self._full - self.credit) / self.share if self.credit < 0 else 0.0

    @property
    def _full(self) -> float:
        return self.share * PERIOD


def next_look(last: float, used: float) -> float:
    """In how many seconds to look at running processes that used so much in the last ones.

    Who does nothing is looked at more and more seldom.
    """
    return LOOK if used > 0 else min(2 * last, _IDLE_LOOK)
