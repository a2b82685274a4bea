"""Differential privacy: what is told of it, and where it is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

import p2pdo
from p2pdo.algorithms import Dgd, DpDgd
from p2pdo.algorithms.private import gaussian_delta, gaussian_epsilon
from p2pdo.data import catalogue
from p2pdo.effects import Here
from p2pdo.errors import ConfigError, P2pdoError
from p2pdo.problems import Logistic, Private, PrivateLogistic, Smooth, fresh_secret
from p2pdo.reporting.records import Summary


def private_costs(nodes: int = 4) -> list[PrivateLogistic]:
    public = catalogue.build_all("two-moons", nodes)
    return [
        PrivateLogistic(p.A, p.b, p.samples, p.l2, secret=fresh_secret())  # type: ignore[union-attr]
        for p in public
    ]


@pytest.mark.parametrize("mu", [0.05, 0.3, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-8])
def test_epsilon_is_that_of_the_gaussian_mechanism(mu: float, delta: float) -> None:
    epsilon = gaussian_epsilon(mu, delta)
    a, b = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
    assert norm.cdf(a) - np.exp(epsilon + norm.logcdf(b)) == pytest.approx(delta, rel=1e-5)
    rho = mu**2 / 2
    assert epsilon <= rho + 2 * math.sqrt(rho * math.log(1 / delta)), "looser than zCDP says"


def test_epsilon_grows_with_what_is_told_and_has_no_end() -> None:
    told = [gaussian_epsilon(mu, 1e-5) for mu in (0.0, 0.1, 1.0, 10.0, 40.0, 1e3)]
    assert told[0] == 0
    assert told == sorted(told)
    assert all(math.isfinite(one) for one in told)
    assert gaussian_delta(1.0, 2.0) < gaussian_delta(1.0, 1.0)


def test_a_release_by_sampling_is_no_more_telling_than_is_said() -> None:
    # The likelihoods of two neighbouring sums, one sensitivity apart, over many draws of noise.
    z, delta = 1.5, 0.02
    epsilon = DpDgd(noise=z, delta=delta).privacy(1)["epsilon"]
    seen = z * np.random.default_rng(0).standard_normal(400_000) + 1.0
    loss = norm.logpdf(seen, 1.0, z) - norm.logpdf(seen, 0.0, z)
    excess = np.mean(np.maximum(0, 1 - np.exp(epsilon - loss)))
    assert excess == pytest.approx(delta, rel=0.05)


def test_a_run_tells_what_it_has_told(tmp_path: Path) -> None:
    result = p2pdo.run(
        private_costs(), algorithm=DpDgd(0.5, noise=20.0), topology="ring", rounds=40, on="dense"
    )
    told = result.summary.privacy
    assert told == DpDgd(noise=20.0).privacy(40)
    assert told["rho"] == pytest.approx(40 / (2 * 400))
    assert told["epsilon"] == pytest.approx(gaussian_epsilon(math.sqrt(40) / 20, 1e-5))
    plain = json.loads(json.dumps(result.summary.to_plain()))
    assert Summary.from_plain(plain).privacy == told
    public = p2pdo.run("two-moons", nodes=3, topology="ring", rounds=2, on="dense")
    assert public.summary.privacy == {}


def test_where_everybody_knows_the_noise_it_is_refused() -> None:
    with pytest.raises(P2pdoError, match="Logistic lacks private_rng") as caught:
        p2pdo.run("two-moons", algorithm=DpDgd(), nodes=3, topology="ring", rounds=2, on="dense")
    assert "which all know, hides nothing" in str(caught.value.hint)


def test_noise_is_the_nodes_own() -> None:
    here = Here(3, 1, (0,), (0,), seed=5)
    A, b = np.ones((2, 2)), np.array([1.0, -1.0])
    one, other = (PrivateLogistic(A, b, 2, 0.1, secret=fresh_secret()) for _ in range(2))
    first = one.private_rng(here).standard_normal(4)
    assert np.array_equal(first, one.private_rng(here).standard_normal(4)), "no state is kept"
    for elsewhere in (
        other.private_rng(here),
        one.private_rng(here.at(4)),
        here.rng,
        one.private_rng(Here(3, 2, (0,), (0,), seed=5)),
    ):
        assert not np.array_equal(first, elsewhere.standard_normal(4))
    assert one.secret not in repr(one)


def test_what_a_private_cost_tells_of_itself() -> None:
    (cost,) = private_costs(1)
    assert isinstance(cost, Private)
    assert isinstance(cost, Logistic)
    assert not isinstance(cost, Smooth)
    with pytest.raises(ConfigError, match="needs a step size"):
        p2pdo.run([cost], algorithm="dgd", topology="ring", rounds=2)
    p2pdo.run([cost], algorithm=Dgd(0.1), topology="ring", rounds=2, on="dense")


@pytest.mark.parametrize("secret", ["", "0" * 63, "x" * 64])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        PrivateLogistic(np.ones((1, 1)), np.ones(1), 1, 0.1, secret=secret)


def test_it_crosses_to_processes_with_the_same_bits() -> None:
    costs = private_costs(3)
    how = {"algorithm": DpDgd(0.5), "topology": "ring", "rounds": 5}
    bits = {p2pdo.run(costs, on=on, **how).summary.state_sha256 for on in ("dense", "processes")}  # type: ignore[arg-type]
    assert len(bits) == 1


def test_less_noise_comes_nearer() -> None:
    costs = private_costs()
    gaps = [
        p2pdo.run(
            costs, algorithm=DpDgd(0.5, noise=z), topology="complete", rounds=300, on="dense"
        ).summary.gap
        for z in (0.01, 100.0)
    ]
    assert gaps[0] is not None
    assert gaps[1] is not None
    assert gaps[0] < gaps[1] / 10
