"""Help is there at once: what is imported says so, whatever the clock of this machine says."""

import json
import subprocess
import sys

import pytest

HEAVY = [
    "numpy",
    "grpc",
    "google.protobuf",
    "pydantic",
    "rich",
    "networkx",
    "matplotlib",
    "scipy",
    "torch",
    "jax",
]
CODE = """
import contextlib, io, json, sys
arguments = json.loads(sys.argv[1])
if arguments is None:
    import p2pdo
else:
    from p2pdo.cli import main
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(arguments)
print(json.dumps([name for name in json.loads(sys.argv[2]) if name in sys.modules]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        None,
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["submit", "--help"],
        ["plan", "--help"],
        ["topo", "--help"],
        ["plot", "--help"],
        ["bench", "ring", "--help"],
        ["run", "quadratic", "--no-such-flag", "--json"],
    ],
    ids=lambda arguments: "import p2pdo" if arguments is None else "p2pdo " + " ".join(arguments),
)
def test_nothing_heavy_is_imported_for(arguments: list[str] | None) -> None:
    command = [sys.executable, "-c", CODE, json.dumps(arguments), json.dumps(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []
