"""Chebyshev gossip and FastMix: their parameter comes from the network, and buys its rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import Consensus, FastMix
from p2pdo.algorithms.catalogue import find, told_by_network
from p2pdo.errors import ConfigError
from p2pdo.graphs.spectral import spectrum
from p2pdo.graphs.topologies import by_name
from p2pdo.graphs.weights import default, from_matrix
from p2pdo.problems import Quadratic

N, ROUNDS = 16, 80
PATH = default(by_name("path", N, np.random.default_rng(0)))


def disagreement(algorithm: Any, rounds: int = ROUNDS) -> float:
    costs = [Quadratic(np.eye(2), np.zeros(2)) for _ in range(N)]
    run = p2pdo.run(
        costs, algorithm=algorithm, on="dense", topology="path", rounds=rounds, start="normal"
    )
    return float(run.summary.consensus_error)


@pytest.mark.parametrize("name", ["fastmix", "chebyshev-gossip"])
def test_what_is_not_given_is_the_slem_of_the_network(name: str) -> None:
    slem = spectrum(PATH).slem
    assert told_by_network(find(name), {}, PATH) == {"slem": slem}
    assert told_by_network(find(name), {"slem": 0.5}, PATH) == {}
    by_default = disagreement(name)
    assert by_default == disagreement(find(name)(slem=slem))  # type: ignore[call-arg]
    assert by_default != disagreement(find(name)())


def test_chebyshev_gossip_is_within_its_bound_and_consensus_far_from_it() -> None:
    slem = spectrum(PATH).slem
    bound = N**0.5 * disagreement(Consensus(), 0) / np.cosh(ROUNDS * np.arccosh(1 / slem))
    assert disagreement("chebyshev-gossip") <= bound < disagreement("consensus") / 10
    assert disagreement("fastmix") < disagreement("consensus") / 10


def test_weights_that_do_not_reach_agreement_are_refused() -> None:
    apart = from_matrix(np.eye(2))
    with pytest.raises(ConfigError, match="do not reach agreement"):
        FastMix.of_network(apart)


@pytest.mark.parametrize("slem", [1.0, -0.1, float("nan")])
def test_a_slem_out_of_range_is_refused(slem: float) -> None:
    with pytest.raises(ConfigError, match=r"slem must lie in \[0, 1\)") as caught:
        FastMix(slem)
    assert caught.value.hint
