"""What one workload's crash, leak or endless loop costs others on the same nodes.

    python benchmarks/isolation.py                      # the whole table, in seven minutes
    python benchmarks/isolation.py --minutes 2          # fewer pairs, wider intervals
    python benchmarks/isolation.py [--json] [--cpu 0.2] [--nice 19] [--pairs 40] [--seconds 0.7]

Run it on a machine that does nothing else. Progress is told on stderr, the table is printed at the
end, and where the others are disturbed by something else it says so instead of a verdict.

The claim: in worker processes, with a limit of CPU, it leaves the other workloads' rate within 5 %.

The coordinator is a process, three nodes are another, and this one is the user. All the time two
workloads that behave are at work, each with pauses, so that they need less than one core:

    rounds     gradient tracking over real gRPC between the nodes
    tasks      no-op tasks, one after another, from the user to node 0 and back

At node 0 a bad one is switched on and off, in windows of less than a second, in random order
within each pair, and after each switch some time is left out. Every pair gives ratios, on to off;
told are their medians and the 95 % intervals of those (see p2pdo/benchmarks/pairs.py). So a
machine that others use makes the intervals wider, and where one is too wide, or `control` does not
hold either, nothing is shown, and the table says that.

    control    a worker process that waits: what the measurement itself is worth
    crash      one that aborts as often as it can; given up after four deaths, and begun anew
    leak       one that takes memory up to its limit of 512 MB, fails its task, and begins again
    loop       one that loops for ever, between two signals
    …, limited the same in an executor with `cpu = 0.2`: its processes use a fifth of a core
    a stranger that crashes, leaks, loops: the same without a limit in a plain process that no node
               knows of (see isolating/stranger.py). Two processes of one machine cannot be isolated
               better than these, so `against` sets each that has no limit against its stranger,
               turn by turn: where that is within the bounds, what the others lose they lose to the
               machine
    loop here  the same loop on a thread of the node itself, where all share one interpreter: no
               claim, this is what worker processes are for

`control` and what is limited have a pair each turn, the others every second turn, and `loop here`
every fourth.

    cpu        seconds of the nodes' CPU time per round: what the bad workload takes inside of the
               node, whatever else runs on the machine

A process isolates interpreters, event loops and memory, not cores: who needs all cores of a
machine is slowed by whatever else runs there. So the table says how many cores there are, and how
many were busy while it was measured, with everything that runs on the machine. The workers of the
bad workloads have `nice = 19`, as advised where cores are scarce; `--nice 0` measures without.

    stall      the longest time for which an event loop did not get on, of node and coordinator,
               while its tasks carry 3 MB arrays both ways: through a coroutine, and through a plain
               handler that computes. A busy machine's delays are in it.
"""

from __future__ import annotations

import argparse
import json

import uvloop
from isolating.measuring import measure
from isolating.table import show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--pairs", type=int, default=40, help="of windows, at most (40)")
    parser.add_argument("--seconds", type=float, default=0.7, help="of a window (0.7)")
    parser.add_argument("--minutes", type=float, default=6.5, help="at most, about (6.5)")
    parser.add_argument("--nice", type=int, default=19, help="of the bad workloads' workers (19)")
    parser.add_argument("--cpu", type=float, default=0.2, help="of those that are limited (0.2)")
    options = parser.parse_args()
    if options.pairs < 1 or options.seconds <= 0:
        parser.error("--pairs and --seconds are more than 0")
    how_long = (options.pairs, options.seconds, options.minutes)
    figures = uvloop.run(measure(*how_long, nice=options.nice, cpu=options.cpu))
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        show(figures)


if __name__ == "__main__":
    main()
