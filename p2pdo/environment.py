"""What must be in the environment before gRPC is first imported, wherever that happens.

Only what the user has not set. Each is one place, with its reason:

- `GRPC_EXPERIMENTS`: EventEngine off for clients and listeners. Small values iterate markedly
  faster without it. An experimental switch: measure again at each release of grpcio.
- `GRPC_ENABLE_FORK_SUPPORT`: off. Processes are started by exec only; with it on, gRPC stops its
  threads around every start of a process and says so on stderr.
- `GRPC_VERBOSITY`: failures are told by p2pdo's own errors.
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
