"""For tests of your own: time that jumps, and the laws of an algorithm.

`run`, `VirtualTimeLoop` and `Deadlock` are of `p2pdo.simulation.clock`; the laws are in
`p2pdo.testing.laws`, and pytest has them by `--p2pdo-laws package:Algorithm`.

Nothing is imported before it is used: pytest loads this package's plugin in every run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2pdo.simulation.clock import Deadlock, VirtualTimeLoop, run

__all__ = ["Deadlock", "VirtualTimeLoop", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from p2pdo.simulation import clock

        return getattr(clock, name)
    raise AttributeError(f"module 'p2pdo.testing' has no attribute '{name}'")
