"""The averaging alone: processes that exchange nothing and each average arrays of their own.

Nothing to install. No exchange can be faster.
"""

from __future__ import annotations

import argparse
from multiprocessing.connection import Connection

from common import arguments, average, in_processes, start, window


def worker(rank: int, options: argparse.Namespace, pipe: Connection) -> None:
    x, left, right = (start(3 * rank + k, options.floats) for k in range(3))
    pipe.send(window(lambda: average(x, left, right), options.iterations))


if __name__ == "__main__":
    in_processes(worker, arguments())
