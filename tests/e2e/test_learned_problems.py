"""PyTorch and JAX costs in real processes: the bits of lock-step, from code in a user's file."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

import p2pdo
from p2pdo.errors import ConfigError

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TORCH = """
    import numpy as np
    from torch import nn
    from torch.nn.functional import cross_entropy
    from p2pdo.problems import TorchProblem

    def model():
        layers = nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2)
        return nn.Sequential(*layers)

    def problem(node, nodes, partition, seed):
        rng = np.random.default_rng(node)
        inputs, labels = rng.standard_normal((9, 3)), rng.integers(0, 2, 9)
        return TorchProblem(model, cross_entropy, inputs, labels, batch_size=4)
"""

JAX = """
    import jax
    import jax.numpy as jnp
    import numpy as np
    from p2pdo.problems import JaxProblem

    def loss(params, batch, key):
        inputs, targets = batch
        hidden = jnp.tanh(inputs @ params["inner"])
        if key is not None:
            hidden = hidden * jax.random.bernoulli(key, 0.7, hidden.shape)
        return jnp.mean((hidden @ params["outer"] - targets) ** 2)

    def problem(node, nodes, partition, seed):
        rng = np.random.default_rng(node)
        tree = {"inner": np.ones((3, 5)), "outer": np.arange(5.0)}
        data = rng.standard_normal((9, 3)), rng.standard_normal(9)
        return JaxProblem(loss, tree, data, batch_size=4)
"""


@pytest.mark.parametrize(("package", "code"), [("torch", TORCH), ("jax", JAX)])
def test_processes_have_the_bits_of_lock_step(package: str, code: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    script = tmp_path / "mine.py"
    script.write_text(textwrap.dedent(code))
    hashes = {
        p2pdo.run(
            f"{script}:problem",
            algorithm="gtadam",
            nodes=2,
            topology="complete",
            rounds=40,
            seed=3,
            on=on,
        ).summary.state_sha256
        for on in ("dense", "processes")
    }
    assert len(hashes) == 1


def test_what_cannot_be_imported_again_is_refused_before_anything_starts(tmp_path: Path) -> None:
    nn = pytest.importorskip("torch").nn
    problem = p2pdo.problems.TorchProblem(
        lambda: nn.Linear(2, 1), nn.MSELoss(), [[1.0, 2.0]], [[1.0]]
    )
    says = r"TorchProblem\.model: .*<lambda> exists only inside a function"
    with pytest.raises(ConfigError, match=says) as caught:
        p2pdo.run([problem], parameters={"step_size": 0.1}, on="processes", rounds=1)
    assert "top level" in str(caught.value.hint)
