"""Time that jumps, for tests: see `p2pdo.simulation.clock`."""

from p2pdo.simulation.clock import Deadlock, VirtualTimeLoop, run

__all__ = ["Deadlock", "VirtualTimeLoop", "run"]
