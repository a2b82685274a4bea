"""The laws: each a function of a case that returns, or raises `BrokenLaw`; or `NothingToTest`.

    equals_its_recursion          the paper's matrix form, to 1e-12 over 50 iterations
    keeps_its_invariant           at every iteration boundary, to 1e-11
    reaches_its_limit             the optimum, or its bias, or the agreement that it declares
    has_the_same_bits_everywhere  dense, simulated under bad weather, one event loop
    stacks                        where `batched`: one step for all nodes, to 1e-12
    steps_in_unison               where `unison`: the same on own costs, to the bit
    mixes_where_it_says           its values can be coded exactly where it declares `mixes`
    goes_on_from_a_state          no hidden memory: a copied state leads to the same bits
    leaves_arrays_alone           what was sent or kept never changes
    keeps_the_dtype               float32 in, float32 out
    survives_what_it_says         a missing message: waited for, or exact without it
    refuses_other_networks        what `requires` excludes is refused with a remedy

Each is held on every network that `requires` allows, one node alone and two included.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from p2pdo.algorithms.base import Limit, Missing
from p2pdo.errors import ConfigError
from p2pdo.protocol.drops import uniform
from p2pdo.protocol.plan import Plan
from p2pdo.simulation.inprocess import run_in_process, run_simulated
from p2pdo.simulation.lockstep import advance_to, run_lockstep, steppers_of
from p2pdo.simulation.network import Weather
from p2pdo.simulation.stacked import run_stacked
from p2pdo.simulation.unison import Parted, Unison
from p2pdo.testing.laws.bits import arrays, bits, digest
from p2pdo.testing.laws.case import Case, Residual
from p2pdo.testing.laws.limits import (
    NearEnough,
    by_default,
    error_to,
    final,
    shrinks_its_bias,
    stays_in_the_hull,
    target_of,
)
from p2pdo.testing.laws.networks import require_remedies
from p2pdo.testing.laws.settings import (
    EXACT,
    KEPT,
    SEED,
    Setting,
    can_stack,
    decisions,
    distance,
    ignore,
    iterates,
    judge_of,
    settings,
)
from p2pdo.testing.outcomes import BrokenLaw, hold, skip
from p2pdo.types import Array

Law: TypeAlias = Callable[[Case], None]

LOSS = 0.2
CODEC = "fp16"
NO_RECURSION = "no `recursion` was given: a Case(algorithm, recursion) has the paper's"
NO_LIMIT = "it does not declare where it goes, `limit`"


def name_of(law: Callable[..., None]) -> str:
    return law.__name__


def equals_its_recursion(case: Case) -> None:
    if case.recursion is None:
        skip(NO_RECURSION)
    for setting in settings(case.algorithm):
        plan = setting.plan(case.algorithm, rounds=50)
        reference = case.recursion(setting.dense(plan))
        for k, (states, X) in enumerate(zip(iterates(plan), reference, strict=False)):
            error = distance(decisions(states), X)
            hold(error <= EXACT, f"off by {error:.1e} {setting} at iteration {k}")


def keeps_its_invariant(case: Case) -> None:
    """The case's, and those that its class declares and runs are held to."""
    residuals: dict[str, Residual] = {
        each.name: each.residual for each in case.algorithm.invariants
    }
    if case.invariant is not None:
        residuals["of the case"] = case.invariant
    if not residuals:
        skip("it declares no `invariants`, and the case has no `invariant`")
    for setting in settings(case.algorithm):
        for k, states in enumerate(iterates(setting.plan(case.algorithm, rounds=30))):
            for name, residual_of in residuals.items():
                residual = residual_of(states)
                worst = distance(residual, np.zeros_like(residual))
                where = f"{setting} at iteration {k}"
                hold(worst <= KEPT, f"the invariant '{name}' is off by {worst:.1e} {where}")


def reaches_its_limit(case: Case) -> None:
    """With the safe share of 1/L that quadratic costs get by default, unless the case is tuned."""
    limit = case.algorithm.limit
    if limit is Limit.UNSTATED:
        skip(NO_LIMIT)
    for setting in settings(case.algorithm):
        algorithm = case.tuned or by_default(case, setting)
        if limit is Limit.NEAR_OPTIMUM:
            shrinks_its_bias(algorithm, setting, case.rounds)
            break
        plan = setting.plan(algorithm, case.rounds)
        if limit is Limit.HULL:
            stays_in_the_hull(plan, setting, case.within)
            continue
        target = target_of(plan, limit)
        error = error_to(final(plan, target, case.within), target)
        hold(
            error <= case.within,
            f"{error:.1e} from {limit.value} {setting} after {case.rounds} iterations",
        )


def has_the_same_bits_everywhere(case: Case) -> None:
    for setting in settings(case.algorithm):
        _has_the_bits_of_dense(setting.plan(case.algorithm, rounds=12), setting)


def _has_the_bits_of_dense(plan: Plan, setting: Setting) -> None:
    weather = Weather(delay=0.02, duplicate=0.2, cut=0.005)
    expected = digest(run_lockstep(plan, judge_of(plan), ignore))
    simulated = run_simulated(plan, judge_of(plan), ignore, delay_seed=plan.nodes, weather=weather)
    hold(digest(simulated) == expected, f"other bits under simulated weather {setting}")
    in_loop = asyncio.run(run_in_process(plan, judge_of(plan), ignore))
    hold(digest(in_loop) == expected, f"other bits in one event loop {setting}")


def stacks(case: Case) -> None:
    if not case.algorithm.batched:
        skip("it is not declared to work on stacked states, `batched`")
    plans = [(each, each.plan(case.algorithm, rounds=30)) for each in settings(case.algorithm)]
    stackable = [(setting, plan) for setting, plan in plans if can_stack(plan)]
    hold(bool(stackable), "it is declared to work on stacked states, and no cost stacks")
    for setting, plan in stackable:
        dense = run_lockstep(plan, judge_of(plan), ignore)
        stacked = run_stacked(plan, judge_of(plan), ignore)
        error = distance(decisions(stacked), decisions(dense))
        hold(error <= EXACT, f"stacked differs by {error:.1e} {setting}")
        sent = [[(r.bytes_sent, r.messages_sent) for r in one] for one in (dense, stacked)]
        hold(sent[0] == sent[1], f"stacked counts other messages {setting}")


def steps_in_unison(case: Case) -> None:
    """All of the states, and what each node has sent and asked, in both precisions."""
    if vars(type(case.algorithm)).get("unison") is not True:
        skip("it does not declare one step for all nodes, `unison`")
    for setting in settings(case.algorithm):
        for dtype in ("float64", "float32"):
            _steps_in_unison(setting.plan(case.algorithm, 12, dtype), f"in {dtype} {setting}")


def _steps_in_unison(plan: Plan, where: str) -> None:
    apart, together = steppers_of(plan), steppers_of(plan)
    try:
        unison = Unison(plan, together)
        for k in range(1, plan.rounds + 1):
            unison.advance()
            unison.observe()
            advance_to(apart, k)
            for one, other in zip(together, apart, strict=True):
                same = bits(one.state) == bits(other.state)
                hold(same, f"other bits in unison {where} at iteration {k}")
                counts = [(r.bytes_sent, r.messages_sent, r.calls) for r in (one, other)]
                hold(counts[0] == counts[1], f"other counts in unison {where} at iteration {k}")
    except Parted as parted:
        reason = parted.__cause__ or "its states do not stack"
        raise BrokenLaw(f"there is no step for all nodes {where}: {reason}") from parted


def mixes_where_it_says(case: Case) -> None:
    setting = settings(case.algorithm)[0]
    plan = replace(setting.plan(case.algorithm, rounds=3), codec=CODEC)
    try:
        steppers = steppers_of(plan)
        advance_to(steppers, plan.rounds)
    except ConfigError:
        hold(not case.algorithm.mixes, f"it declares `mixes` and exchanges otherwise {setting}")
    else:
        hold(case.algorithm.mixes, f"it mixes and declares that it does not {setting}")


def goes_on_from_a_state(case: Case) -> None:
    """A copy of the states at iteration 7, in new steppers, leads to the same bits at 15."""
    for setting in settings(case.algorithm):
        plan = setting.plan(case.algorithm, rounds=15)
        unbroken = steppers_of(plan)
        advance_to(unbroken, 7)
        resumed = steppers_of(plan)
        for ours, theirs in zip(resumed, unbroken, strict=True):
            ours.state, ours.iteration = copy.deepcopy(theirs.state), 7
        advance_to(unbroken, 15)
        advance_to(resumed, 15)
        for ours, theirs in zip(resumed, unbroken, strict=True):
            hold(bits(ours.state) == bits(theirs.state), f"resumed with other bits {setting}")


def leaves_arrays_alone(case: Case) -> None:
    for setting in settings(case.algorithm):
        kept: list[tuple[int, Array, bytes]] = []
        for k, states in enumerate(iterates(setting.plan(case.algorithm, rounds=10))):
            kept += [(k, a, a.tobytes()) for state in states for a in arrays(state)]
        for k, a, before in kept:
            hold(a.tobytes() == before, f"an array of iteration {k} was changed later {setting}")


def keeps_the_dtype(case: Case) -> None:
    setting = settings(case.algorithm)[0]
    for dtype in ("float32", "float64"):
        for states in iterates(setting.plan(case.algorithm, 5, dtype)):
            found = {a.dtype.name for state in states for a in arrays(state)} - {"int64", "bool"}
            hold(found == {dtype}, f"a start in {dtype} leads to {', '.join(sorted(found))}")
        plan = setting.plan(case.algorithm, 5, dtype)
        if can_stack(plan):
            run_stacked(plan, judge_of(plan), ignore)  # it looks by itself


def survives_what_it_says(case: Case) -> None:
    """WAIT: cut links change no bit. HOLD: with a fifth of all values lost it is still exact."""
    first = settings(case.algorithm)[0]
    if case.algorithm.missing is Missing.WAIT:
        plan = first.plan(case.algorithm, rounds=20)
        expected = digest(run_lockstep(plan, judge_of(plan), ignore))
        rough = Weather(delay=0.05, duplicate=0.3, cut=0.03, outage=0.3)
        found = run_simulated(plan, judge_of(plan), ignore, delay_seed=1, weather=rough)
        hold(digest(found) == expected, f"links that are cut change the result {first}")
        return
    plan = first.plan(case.tuned or by_default(case, first), rounds=2 * case.rounds)
    plan = replace(plan, drops=uniform(LOSS, SEED), observe_every=50)
    target = target_of(plan, case.algorithm.limit)
    reports = run_lockstep(plan, NearEnough(plan, target, case.within), ignore)
    error = error_to(decisions(reports), target)
    hold(error <= case.within, f"{error:.1e} from its limit where values are lost {first}")
    _has_the_bits_of_dense(replace(plan, rounds=12), first)


def refuses_other_networks(case: Case) -> None:
    require_remedies(case.algorithm)


LAWS: tuple[Law, ...] = (
    equals_its_recursion,
    keeps_its_invariant,
    reaches_its_limit,
    has_the_same_bits_everywhere,
    stacks,
    steps_in_unison,
    mixes_where_it_says,
    goes_on_from_a_state,
    leaves_arrays_alone,
    keeps_the_dtype,
    survives_what_it_says,
    refuses_other_networks,
)
