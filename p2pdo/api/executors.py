"""What an executor can run: asked of a job before anything is begun, and before its folder is."""

from __future__ import annotations

from p2pdo.api.asynchrony import check_asynchronous
from p2pdo.api.drops import check_dropping
from p2pdo.api.jobs import Job
from p2pdo.api.processes import check_crossing
from p2pdo.api.runs import Executor, check_in_memory, check_monitored, check_processes
from p2pdo.api.simulating import check_simulated
from p2pdo.errors import ConfigError
from p2pdo.simulation.stacked import require_stackable


def check_executable(job: Job, executor: Executor, *, has_timeline: bool = False) -> None:
    """Refuses a job that this executor cannot run as it was asked for.

    Raises:
        ConfigError: says why, and what to do instead.
    """
    check_in_memory(executor, job.plan.nodes)
    _check_lane(job, executor)
    check_asynchronous(job, executor, has_timeline=has_timeline)
    check_monitored(job, executor)
    check_dropping(job.plan.drops, executor)
    check_simulated(job.links, executor)
    if executor == "stacked":
        require_stackable(job.plan)
    if executor == "processes":
        check_processes(job.plan.nodes)
        check_crossing(job)


def _check_lane(job: Job, executor: Executor) -> None:
    """A lane is between processes; nothing crosses one in the others."""
    lane = job.request.lane
    if lane != "auto" and executor != "processes":
        raise ConfigError(
            f"--lane {lane} is how values go between processes, and --on {executor} has one",
            hint="--on processes, or leave --lane out",
        )
