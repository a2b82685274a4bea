"""TCP sockets over loopback: blocking ones, and where arrays are large, whichever end is ready.

Nothing to install. No framing, no checks, no way to stop or to fail: what sockets alone can do.
"""

from __future__ import annotations

import argparse
import selectors
import socket
from multiprocessing.connection import Connection

import numpy as np
from common import Array, arguments, average, in_processes, start, window

_SMALL = 64 * 1024  # bytes that fit into the sockets' buffers: they are written before reading


def worker(rank: int, options: argparse.Namespace, pipe: Connection) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    pipe.send(listener.getsockname())
    addresses = pipe.recv()
    right = socket.create_connection(addresses[(rank + 1) % options.nodes])
    left, _ = listener.accept()
    for end in (left, right):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    x = start(rank, options.floats)
    from_left, from_right = np.empty_like(x), np.empty_like(x)
    swap = _swap_small if x.nbytes <= _SMALL else _swap_large

    def step() -> None:
        swap(left, right, x, from_left, from_right)
        average(x, from_left, from_right)

    pipe.send(window(step, options.iterations))


def _swap_small(
    left: socket.socket, right: socket.socket, x: Array, from_left: Array, from_right: Array
) -> None:
    left.sendall(x)
    right.sendall(x)
    _receive(left, from_left)
    _receive(right, from_right)


def _swap_large(
    left: socket.socket, right: socket.socket, x: Array, from_left: Array, from_right: Array
) -> None:
    """All write to both sides as they can, and read meanwhile, so no two wait for each other."""
    with selectors.DefaultSelector() as selector:
        for end in (left, right):
            end.setblocking(False)
        ends = {
            left: [memoryview(x).cast("B"), memoryview(from_left).cast("B")],
            right: [memoryview(x).cast("B"), memoryview(from_right).cast("B")],
        }
        for end in ends:
            selector.register(end, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while selector.get_map():
            for key, events in selector.select():
                views = ends[key.fileobj]  # type: ignore[index]
                end: socket.socket = key.fileobj  # type: ignore[assignment]
                if events & selectors.EVENT_WRITE and views[0]:
                    views[0] = views[0][end.send(views[0]) :]
                if events & selectors.EVENT_READ and views[1]:
                    views[1] = views[1][end.recv_into(views[1]) :]
                wanted = bool(views[0]) * selectors.EVENT_WRITE
                wanted |= bool(views[1]) * selectors.EVENT_READ
                if not wanted:
                    selector.unregister(end)
                elif wanted != key.events:
                    selector.modify(end, wanted)
        for end in (left, right):
            end.setblocking(True)


def _receive(end: socket.socket, into: Array) -> None:
    view = memoryview(into).cast("B")
    while view:
        view = view[end.recv_into(view) :]


if __name__ == "__main__":
    in_processes(worker, arguments(), meet=True)
