"""What a worker process finds in its environment: its rank, a port to meet at, a GPU, its threads.

The names are those of torchrun, so that `torch.distributed.init_process_group()` needs no
arguments. All workers of an executor are on this machine: local rank and rank are the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_HOST = "127.0.0.1"
_PATIENCE = 10.0  # seconds for nvidia-smi, which wakes sleeping GPUs
_KERNEL_LIST = Path("/proc/driver/nvidia/gpus")
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def reserve_port() -> socket.socket:
    """A socket that keeps a free port until it is closed, and lets rank 0 listen there.

    Bound and not listening, both ends with SO_REUSEADDR, which every store of torch sets: the
    system gives the port to nobody who asks for any, and refuses it to nobody who asks for this
    one. Only a stranger who names the number could take it.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind((_HOST, 0))
    return keeper


def environment_of(
    rank: int, world_size: int, *, port: int, gpus: Sequence[str], threads: int
) -> dict[str, str]:
    """The whole environment of one worker."""
    own = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": world_size,
        "LOCAL_WORLD_SIZE": world_size,
        "MASTER_ADDR": _HOST,
        "MASTER_PORT": port,
        **dict.fromkeys(_THREADS, threads),
        # the node may have found p2pdo and the site's code by other ways than this variable;
        # the worker puts back what was in it, for processes of its own
        "PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path),
    }
    if gpus:
        own["CUDA_VISIBLE_DEVICES"] = gpus[rank % len(gpus)]
    return {**os.environ, **{name: str(value) for name, value in own.items()}}


async def find_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """What each GPU of this node is called in CUDA_VISIBLE_DEVICES; that variable is respected."""
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    program = await asyncio.to_thread(shutil.which, "nvidia-smi")
    if program is not None:  # alone it knows containers and parts of GPUs
        return parse_gpu_list(await _output_of(program, "-L"))
    return await asyncio.to_thread(_gpus_of_the_kernel)


def _gpus_of_the_kernel() -> list[str]:
    with contextlib.suppress(OSError):
        return [str(index) for index, _ in enumerate(_KERNEL_LIST.iterdir())]
    return []


def parse_gpu_list(text: str) -> list[str]:
    """The GPUs in the list of `nvidia-smi -L`; in place of one that is cut up, its parts.

    CUDA names a part by its UUID only.
    """
    found: list[list[str]] = []
    for line in text.splitlines():
        if whole := re.match(r"GPU (\d+):", line):
            found.append([whole[1]])
        elif found and (part := re.search(r"\(UUID: (MIG-[^)]+)\)", line)):
            found[-1].append(part[1])
    return [name for names in found for name in (names[1:] or names)]


async def _output_of(*command: str) -> str:
    """What the program prints; nothing where it fails or takes too long."""
    nothing = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=nothing, stdout=asyncio.subprocess.PIPE, stderr=nothing
        )
    except OSError:
        return ""
    try:
        async with asyncio.timeout(_PATIENCE):
            output, _ = await process.communicate()
    except TimeoutError:
        return ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace") if process.returncode == 0 else ""
