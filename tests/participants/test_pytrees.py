"""JAX: mix returns a new pytree."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from p2pdo.errors import LocalProtocolError, RemoteProtocolError
from p2pdo.participants.checkpoints import Checkpoints

jax = pytest.importorskip("jax")


class Layer(NamedTuple):
    weight: Any
    bias: Any


def test_a_pytree_comes_back_as_one_of_the_same_kind(run: Any) -> None:
    jnp = jax.numpy

    def train(me: Any) -> None:
        tree = {
            "layers": [Layer(jnp.full((2, 2), float(me.node)), None)],
            "half": jnp.full(2, me.node + 0.5, jnp.bfloat16),
            "opaque": jax.tree_util.Partial(print, jnp.ones(3) * me.node),
        }
        for _ in me.rounds():
            mixed = me.mix(tree)
        assert jax.tree_util.tree_structure(mixed) == jax.tree_util.tree_structure(tree)
        assert mixed["layers"][0].weight.tolist() == [[1.5, 1.5]] * 2
        assert (mixed["half"].dtype, mixed["half"].tolist()) == (jnp.bfloat16, [2.0, 2.0])
        assert mixed["opaque"].args[0].tolist() == [1.5] * 3
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(mixed))

    run(train, topology="complete", rounds=1)


def test_a_leaf_that_differs_is_named(run: Any) -> None:
    def train(me: Any) -> None:
        shape = (3,) if me.node == 2 else (4,)
        for _ in me.rounds():
            me.mix({"b": jax.numpy.zeros(2), "layers": [jax.numpy.zeros(shape)]})

    with pytest.raises(RemoteProtocolError, match=r"'layers\.0' is float32"):
        run(train)


def test_what_is_no_value_is_refused(run: Any) -> None:
    with pytest.raises(LocalProtocolError, match="object cannot be exchanged"):
        run(lambda me: me.mix(object()), nodes=1)


def test_arrays_are_kept_and_come_back(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, 1)
    tree = {"w": jax.numpy.arange(3.0), "h": jax.numpy.ones(2, jax.numpy.bfloat16), "n": None}
    kept.write(0, 0, {"tree": tree})
    back = kept.go_on_from(0)[0]["tree"]
    kept.close()
    assert back["n"] is None
    for name in ("w", "h"):
        assert isinstance(back[name], jax.Array)
        assert back[name].dtype == tree[name].dtype
        np.testing.assert_array_equal(back[name], tree[name])
