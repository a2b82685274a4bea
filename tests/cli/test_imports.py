"""Help is there at once: what is imported says so, whatever the clock of this machine says."""

import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from p2pdo import algorithms, codecs, problems
from p2pdo.algorithms import asynchronous
from p2pdo.algorithms.asynchronous.table import ASYNCHRONOUS
from p2pdo.algorithms.catalogue import ALGORITHMS
from p2pdo.data.catalogue import PROBLEMS
from p2pdo.on_use import ByName

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


NOT_A_NODES = [
    "bz2",
    "email",
    "importlib.metadata",
    "networkx",
    "numpy.random",
    "p2pdo.algorithms.compressed",
    "p2pdo.algorithms.directed",
    "p2pdo.codecs.catalogue",
    "p2pdo.coordinator",
    "p2pdo.participants.me",
    "p2pdo.problems.softmax",
    "p2pdo.protocol.workload",
    "pydantic",
    "rich",
    "sqlite3",
    "zipfile",
]
"""What only some nodes use, or none: a node has that memory for values."""
NODE = """
import json, sys
import p2pdo.node.daemon, p2pdo.node.configuration.settings, p2pdo.node.run
from p2pdo.algorithms import catalogue
from p2pdo.algorithms.consensus import Consensus
assert catalogue.find("consensus") is Consensus
assert catalogue.name_of(Consensus) == "consensus"
print(json.dumps([name for name in json.loads(sys.argv[1]) if name in sys.modules]))
"""


@pytest.mark.slow
def test_a_node_imports_the_algorithm_that_it_runs_and_no_other() -> None:
    command = [sys.executable, "-c", NODE, json.dumps(NOT_A_NODES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("package", [algorithms, asynchronous, codecs, problems])
def test_what_a_package_shows_is_what_its_table_finds(package: ModuleType) -> None:
    found = {name: getattr(package, name) for name in package.__all__}
    assert all(found[name].__name__ == name for name in found if isinstance(found[name], type))
    assert dir(package) == sorted(found), "what is completed at a prompt"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018 - it is the look-up that fails


@pytest.mark.parametrize("catalogue", [ALGORITHMS, ASYNCHRONOUS, PROBLEMS])
def test_each_name_of_a_catalogue_finds_a_thing_that_has_that_name(
    catalogue: ByName[Any],
) -> None:
    assert [catalogue.name_of(thing) for thing in catalogue.values()] == list(catalogue)
    assert catalogue.name_of(ByName) is None
