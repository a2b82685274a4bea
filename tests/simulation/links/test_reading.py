"""`links.toml`: what it says, and every mistake with file, line and key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from p2pdo.errors import ConfigError
from p2pdo.graphs.topologies import by_name
from p2pdo.simulation.links.compute import Slow
from p2pdo.simulation.links.conditions import Patience
from p2pdo.simulation.links.delay import Constant, LogNormal
from p2pdo.simulation.links.measured import Measured
from p2pdo.simulation.links.reading import Links, links_of, read_links
from p2pdo.simulation.links.silences import Freeze, Partition

RING = by_name("ring", 8, np.random.default_rng(0))

WHOLE = """
[links]
delay = "lognormal:20ms,0.3"
bandwidth = "8 Mbit/s"
loss = 0.01
resend = "100ms"
duplicate = 0.02
reorder = 0.03
cut = 0.001
outage = "1s"

[[edges]]
between = [0, 1]
delay = "150ms"

[[edges]]
from = 1
to = 2
loss = 0.2

[compute]
time = "lognormal:5ms,0.3"

[[compute.slow]]
nodes = [3]
factor = 10
chance = 0.2

[[freezes]]
nodes = [5]
at = "10s"
for = "3s"
every = "1h"

[[partitions]]
nodes = [0, 1, 2]
at = "20s"
for = "5s"

[patience]
lease = "1min"
"""


def read(text: str, tmp_path: Path) -> Links:
    path = tmp_path / "links.toml"
    path.write_text(text)
    return read_links(path, RING)


def test_every_key_is_what_it_says(tmp_path: Path) -> None:
    conditions = read(WHOLE, tmp_path).conditions
    weather = conditions.weather
    assert weather.delay == LogNormal(0.02, 0.3)
    assert weather.bandwidth == 1e6
    assert (weather.loss, weather.resend) == (0.01, 0.1)
    assert (weather.duplicate, weather.reorder) == (0.02, 0.03)
    assert (weather.cut, weather.outage) == (0.001, 1.0)
    assert {conditions.of(*way).delay for way in ((0, 1), (1, 0))} == {Constant(0.15)}
    assert conditions.of(0, 1).bandwidth == 1e6, "what an edge does not say is as everywhere"
    assert [conditions.of(*way).loss for way in ((1, 2), (2, 1))] == [0.2, 0.01]
    compute = conditions.compute
    assert (compute.medians, compute.sigma) == ((0.005,), 0.3)
    assert list(compute.slow) == [Slow((3,), 10.0, 0.2)]
    assert list(conditions.freezes) == [Freeze((5,), 3.0, 10.0, 3600.0)]
    assert list(conditions.partitions) == [Partition((0, 1, 2), 20.0, 5.0)]
    assert conditions.patience == Patience(lease=60.0)


def test_a_matrix_of_pings_is_halved_and_beside_the_file(tmp_path: Path) -> None:
    pings = np.arange(64.0).reshape(8, 8)
    np.save(tmp_path / "pings.npy", pings)
    delay = read('[links]\ndelay = { matrix = "pings.npy" }\n', tmp_path).conditions.weather.delay
    assert isinstance(delay, Measured)
    assert np.array_equal(delay.matrix, pings * 5e-4)
    one_way = 'links.delay = { matrix = "pings.npy", unit = "1s", round_trip = false, sigma = 1 }'
    delay = read(one_way, tmp_path).conditions.weather.delay
    assert isinstance(delay, Measured)
    assert np.array_equal(delay.matrix, pings)
    assert delay.sigma == 1


def test_measured_computing(tmp_path: Path) -> None:
    links = read('[compute]\ntime = "measured"\n[[compute.slow]]\nnodes=[1]\nfactor=2', tmp_path)
    assert links.measure
    assert list(links.conditions.compute.slow) == [Slow((1,), 2.0)]


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert read("", tmp_path) == links_of({}, RING)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[links]\ndealy = "20ms"', "links.toml:2: links.dealy: .* did you mean 'delay'"),
        ('[links]\ndelay = "gauss:1ms"', "links.toml:2: links.delay: 'gauss' is no kind"),
        ("[links]\nbandwidth = 10", "links.toml:2: links.bandwidth: '10' is not a rate"),
        ("[links]\nloss = 1.0", "links.toml:2: links.loss: input should be less than 1"),
        ('[links]\ndelay = { file = "a" }', "links.toml:2: links.delay.matrix: field required"),
        ('[links]\ndelay = { matrix = "a.npy" }', "links.toml:2: links.delay: cannot read .*a.npy"),
        ("[[edges]]\nbetween = [0, 2]", "links.toml:2: edges.0.between: .* 2 are no neighbours"),
        ("[[edges]]\nfrom = 0\nto = 5", "links.toml:2: edges.0.from: nodes 0 and 5 are no neigh"),
        ("[[edges]]\nfrom = 0", "links.toml:1: edges.0: say which: between"),
        ("[[edges]]\nbetween = [0, 1]\nto = 1", "edges.0: say which"),
        ("[[edges]]\nbetween = [1, 1]", "edges.0: a node has no link to itself"),
        ('[compute]\ntime = "soon"', "links.toml:2: compute.time: 'soon' is not a time"),
        ("[[compute.slow]]\nnodes = [8]\nfactor = 2", "links.toml:2: .*no node 8 of 8"),
        ("[[compute.slow]]\nnodes = []\nfactor = 2", "compute.slow.0.nodes: list should have"),
        ("[[freezes]]\nnodes = [0]", "freezes.0.for: field required"),
        ('[[partitions]]\nnodes = [9]\nat = 1\nfor = "1s"', "partitions.0.nodes: .* node 9 of 8"),
        ("[patience]\nlaese = 3", "links.toml:2: patience.laese: .* did you mean 'lease'"),
        ("[links", "links.toml:1: this is no TOML"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_key(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        read(text, tmp_path)
    assert "simulate-a-network.md" in str(caught.value.hint)


def test_a_matrix_of_another_network_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "pings.npy", np.ones((4, 4)))
    with pytest.raises(ConfigError, match="of 4 nodes, the network has 8"):
        read('[links]\ndelay = { matrix = "pings.npy" }', tmp_path)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"2 mistakes: .*links.loss.*links.cut"):
        read("[links]\nloss = 2\ncut = -1", tmp_path)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*: No such file"):
        read_links(tmp_path / "links.toml", RING)
