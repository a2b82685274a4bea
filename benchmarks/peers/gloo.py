"""PyTorch's gloo over loopback: isend and irecv to and from both neighbours.

pip install torch --index-url https://download.pytorch.org/whl/cpu
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
from multiprocessing.connection import Connection

from common import arguments, in_processes, not_installed, start, window


def worker(rank: int, options: argparse.Namespace, pipe: Connection) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        pipe.send(free.getsockname()[1])
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(pipe.recv()[0]))
    dist.init_process_group("gloo", rank=rank, world_size=options.nodes)
    left, right = (rank - 1) % options.nodes, (rank + 1) % options.nodes
    x = torch.from_numpy(start(rank, options.floats))
    from_left, from_right = torch.empty_like(x), torch.empty_like(x)

    def step() -> None:
        waits = [
            dist.isend(x, left, tag=0),
            dist.isend(x, right, tag=1),
            dist.irecv(from_left, left, tag=1),
            dist.irecv(from_right, right, tag=0),
        ]
        for wait in waits:
            wait.wait()
        x.add_(from_left).add_(from_right).mul_(1 / 3)

    pipe.send(window(step, options.iterations))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    if importlib.util.find_spec("torch") is None:
        not_installed("PyTorch is not installed")
    in_processes(worker, arguments(), meet=True, imports="torch.distributed")
