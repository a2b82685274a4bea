"""What a process must be told before it begins, because nobody listens later.

Each is in one place, with its reason. `tests/node/test_environment.py` holds that a node process
is still run so; what each is worth is to be measured again with new releases of grpcio and glibc.

For gRPC, before it is first imported, wherever that happens; only what the user has not set:

- `GRPC_EXPERIMENTS`: EventEngine off for clients and listeners. An iteration of small values costs
  a fifth less processor time without it.
- `GRPC_ENABLE_FORK_SUPPORT`: off. Processes are started by exec only; with it on, gRPC stops its
  threads around every start of a process and says so on stderr.
- `GRPC_VERBOSITY`: failures are told by p2pdo's own errors.

For glibc's malloc, in a process that is p2pdo's own (`keep_memory`): what was freed is kept, in one
arena. Otherwise each array and message of some size is mapped, faulted in page by page, and
unmapped again, in every iteration: twice the processor time at 64 MB a value, half as much again
at 4 MB. Above 1 GiB memory goes back to the system at once: there the pages are not what counts.
"""

from __future__ import annotations

import os

GRPC_SETTINGS = {
    "GRPC_EXPERIMENTS": "-event_engine_client,-event_engine_listener",
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    "GRPC_VERBOSITY": "NONE",
}

for _name, _value in GRPC_SETTINGS.items():
    os.environ.setdefault(_name, _value)

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # malloc.h
_NEVER = (1 << 31) - 1
MALLOC_SETTINGS = {_ARENA_MAX: 1, _MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: _NEVER}


def keep_memory() -> bool:
    """Has malloc keep what is freed; whether there is a glibc that did as it was told.

    To be called once, before there are threads.
    """
    import ctypes

    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 - others have a mallopt too, with other numbers
        mallopt = libc.mallopt
    except (AttributeError, OSError, TypeError):
        return False
    answers = [mallopt(name, value) for name, value in MALLOC_SETTINGS.items()]
    return answers == [1] * len(answers)
