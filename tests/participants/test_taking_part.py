"""Participants in virtual time: the bits of algorithms, in any weather; failures and ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.data.catalogue import build_all
from p2pdo.effects import Here
from p2pdo.errors import LocalProtocolError, P2pdoError, RemoteProtocolError, WorkloadFailed
from p2pdo.simulation.network import Weather

BAD = Weather(delay=0.05, duplicate=0.2, cut=0.02)
STEP = 0.01


def problems(nodes: int) -> list[Any]:
    return list(build_all("least-squares", nodes, "iid", 0, dtype="float64", parameters={}))


def states(outcomes: list[Any]) -> list[bytes]:
    return [np.array(outcome.result).tobytes() for outcome in outcomes]


def reference(algorithm: str, nodes: int, topology: str, rounds: int) -> list[bytes]:
    result = p2pdo.run(
        problems(nodes),
        algorithm=algorithm,
        topology=topology,
        parameters={"step_size": STEP},
        rounds=rounds,
    )
    return [x.tobytes() for x in result.states]


@pytest.mark.parametrize("topology", ["ring", "star", "complete"])
@pytest.mark.parametrize("seed", range(3))
def test_a_participant_has_the_bits_of_the_algorithm_that_does_the_same(
    run: Any, topology: str, seed: int
) -> None:
    costs = problems(5)

    def adapt(me: Any) -> Any:
        x = np.zeros(costs[0].dimension)
        for _ in me.rounds():
            z = me.mix(x)
            x = z - STEP * costs[me.node].gradient(z)
        return x.tolist()

    def descend(me: Any) -> Any:
        x = np.zeros(costs[0].dimension)
        for _ in me.rounds():
            mixed = me.mix(x)
            x = mixed - STEP * costs[me.node].gradient(x)
        return x.tolist()

    for function, algorithm in ((adapt, "dgd-cta"), (descend, "dgd")):
        outcomes, _ = run(
            function, nodes=5, topology=topology, weather=BAD, delay_seed=seed, rounds=40
        )
        assert states(outcomes) == reference(algorithm, 5, topology, 40)
        assert [outcome.iterations for outcome in outcomes] == [40] * 5


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("topology", ["ring", "directed-ring"])
def test_few_nodes_and_one_way_edges_work(run: Any, nodes: int, topology: str) -> None:
    def average(me: Any) -> Any:
        x = float(me.node)
        for _ in me.rounds():
            x = me.mix(x)
        return x

    outcomes, _ = run(average, nodes=nodes, topology=topology, weather=BAD, rounds=60)
    for outcome in outcomes:
        assert outcome.result == pytest.approx((nodes - 1) / 2, abs=1e-6)


def test_me_knows_where_it_is_and_draws_what_a_step_would(run: Any) -> None:
    seen: dict[int, Any] = {}

    def look(me: Any, *, lr: float = 0.5, steps: int = 3) -> Any:
        draws = []
        for k in me.rounds():
            draws.append((me.rng.random(), me.rng.random(), me.common_rng.random()))
            assert me.round == k
        seen[me.node] = (me, draws)
        return {"weights": me.weights, "lr": lr, "steps": steps}

    outcomes, _ = run(look, topology="directed-ring", rounds=3, seed=7, parameters={"lr": 0.25})
    me, draws = seen[2]
    assert (me.name, me.node, me.nodes, me.seed) == ("node-2", 2, 4, 7)
    assert (me.in_neighbors, me.out_neighbors) == (("node-1",), ("node-3",))
    assert me.neighbors == ("node-1", "node-3")
    assert me.parameters == {"lr": 0.25, "steps": 3}
    assert outcomes[2].result == {
        "weights": {"node-1": 0.5, "node-2": 0.5},
        "lr": 0.25,
        "steps": 3,
    }
    for k, (first, second, common) in enumerate(draws):
        here = Here(k, 2, (1,), (3,), 7)
        assert (first, second) == (here.rng.random(), here.rng.random())
        assert common == here.common_rng.random() == seen[0][1][k][2]


def test_exchange_gives_what_each_neighbour_sent_as_ones_own(run: Any) -> None:
    def ask(me: Any) -> Any:
        mine = np.full(2, float(me.node))
        for _ in me.rounds():
            theirs = me.exchange({"x": mine, "n": me.node})
            for name, value in theirs.items():
                assert name == f"node-{value['n']}"
                value["x"] += 1  # nobody else's
            mine += 0  # and what was sent is still this node's
        return sorted(theirs)

    outcomes, _ = run(ask, weather=BAD)
    assert [outcome.result for outcome in outcomes] == [
        ["node-1", "node-3"],
        ["node-0", "node-2"],
        ["node-1", "node-3"],
        ["node-0", "node-2"],
    ]


def test_a_message_of_ones_own_type_is_encoded_and_decoded(run: Any) -> None:
    class Point:
        def __init__(self, x: float, y: float) -> None:
            self.x, self.y = x, y

    def meet(me: Any) -> Any:
        at = Point(float(me.node), -float(me.node))
        for _ in me.rounds():
            theirs = me.exchange(at)
            assert all(type(point) is Point for point in theirs.values())
            at = me.mix(at)
        return [at.x, at.y]

    outcomes, _ = run(
        meet,
        rounds=80,
        encode=lambda p: np.array([p.x, p.y]),
        decode=lambda v: Point(float(v[0]), float(v[1])),
    )
    for outcome in outcomes:
        assert outcome.result == pytest.approx([1.5, -1.5])


def test_what_is_logged_is_told_round_by_round(run: Any) -> None:
    def talk(me: Any) -> Any:
        for k in me.rounds():
            me.mix(0.0)
            me.log(loss=k + 0.5, odd=np.float32("nan"))
        me.log(accuracy=np.float64(0.9))

    _, told = run(talk, rounds=5, observe_every=2)
    mine = [progress for progress in told if progress.node == 1]
    assert [progress.iteration for progress in mine] == [2, 4, 5]
    assert [progress.logged.get("loss") for progress in mine] == [1.5, 3.5, 4.5]
    assert mine[0].logged["odd"] is None
    assert mine[-1].logged["accuracy"] == 0.9
    assert mine[-1].messages_sent == 10


# ---- what goes wrong ----


def test_an_exception_is_told_with_node_round_line_and_words(run: Any) -> None:
    def fails(me: Any) -> Any:
        for k in me.rounds():
            me.mix(1.0)
            if (me.node, k) == (2, 3):
                raise KeyError("no such patient")

    with pytest.raises(WorkloadFailed, match=r"KeyError: 'no such patient'") as failure:
        run(fails)
    assert (failure.value.node, failure.value.iteration) == ("node-2", 3)
    assert f"{__file__}, line {fails.__code__.co_firstlineno + 4}" in str(failure.value.hint)


def test_an_exit_is_a_failure_and_ends_no_node(run: Any) -> None:
    def leaves(me: Any) -> Any:
        for _ in me.rounds():
            me.mix(1.0)
            if me.node == 1:
                raise SystemExit(3)

    with pytest.raises(WorkloadFailed, match="SystemExit: 3") as failure:
        run(leaves)
    assert failure.value.node == "node-1"


def test_who_waits_for_a_failed_neighbour_is_woken_by_an_error(run: Any) -> None:
    woken: list[int] = []

    def one_fails(me: Any) -> Any:
        try:
            for k in me.rounds():
                me.mix(1.0)
                if (me.node, k) == (0, 4):
                    raise ValueError("boom")
        except P2pdoError:
            assert me.aborted
            woken.append(me.node)
            raise

    with pytest.raises(WorkloadFailed, match="boom"):
        run(one_fails)
    assert sorted(woken) == [1, 2, 3]


def test_a_round_does_not_begin_when_the_workload_is_over(run: Any) -> None:
    rounds: list[int] = []

    def only_one_fails(me: Any) -> Any:
        for k in me.rounds():
            try:
                me.mix(1.0)
            except P2pdoError:
                continue  # it should not
            finally:
                if me.node == 2:
                    rounds.append(k)
            if (me.node, k) == (0, 4):
                raise ValueError("boom")

    with pytest.raises(WorkloadFailed, match="boom"):
        run(only_one_fails, rounds=1000)
    assert len(rounds) < 10


@pytest.mark.parametrize("topology", ["ring", "directed-ring", "star"])
def test_a_participant_that_returns_early_is_a_disagreement_and_no_wait(
    run: Any, topology: str
) -> None:
    def leaves_early(me: Any) -> Any:
        for k in me.rounds():
            me.mix(1.0)
            if me.node == 1 and k == 4:
                return

    with pytest.raises(P2pdoError, match="nodes disagree on the exchanges of iteration 5"):
        run(leaves_early, topology=topology, rounds=50)


def test_differing_numbers_and_kinds_of_exchanges_are_a_disagreement(run: Any) -> None:
    def twice(me: Any) -> Any:
        for k in me.rounds():
            me.mix(1.0)
            if me.node == 1 and k == 2:
                me.mix(1.0)

    def kinds(me: Any) -> Any:
        for k in me.rounds():
            (me.exchange if (me.node, k) == (3, 2) else me.mix)(1.0)

    for function in (twice, kinds):
        with pytest.raises(RemoteProtocolError, match="disagree on the exchanges of iteration 2"):
            run(function)


def test_all_may_stop_early_together(run: Any) -> None:
    def until_common_coin(me: Any) -> Any:
        for k in me.rounds():
            me.mix(1.0)
            if k == 6:
                break
        return k

    outcomes, told = run(until_common_coin, rounds=10**6)
    assert [outcome.iterations for outcome in outcomes] == [7] * 4
    assert max(progress.iteration for progress in told) == 7


def test_values_of_different_layout_are_named(run: Any) -> None:
    def odd(me: Any) -> Any:
        width = 3 if me.node == 2 else 4
        for _ in me.rounds():
            me.mix({"bias": np.zeros(2), "weight": np.zeros((width, 2))})

    with pytest.raises(RemoteProtocolError, match=r"'weight' is float64 \(\d, 2\) here") as failure:
        run(odd)
    assert "same model" in str(failure.value.hint)


def test_a_value_that_is_not_finite_is_told_by_its_name_at_its_source(run: Any) -> None:
    def diverges(me: Any) -> Any:
        for k in me.rounds():
            bad = np.inf if (me.node, k) == (1, 3) else 0.0
            me.mix({"a": np.zeros(1), "b": {"c": np.array([bad])}})

    with pytest.raises(WorkloadFailed, match=r"'b\.c' of node-1 is not finite") as failure:
        run(diverges)
    assert failure.value.iteration == 3


@pytest.mark.parametrize(
    ("returned", "says"),
    [(np.zeros(3), "ndarray"), ({"loss": float("nan")}, "not finite at"), (object(), "object")],
)
def test_what_is_returned_must_be_plain(run: Any, returned: Any, says: str) -> None:
    with pytest.raises(LocalProtocolError, match=says):
        run(lambda me: returned)


def test_numbers_of_numpy_become_pythons(run: Any) -> None:
    outcomes, _ = run(lambda me: {"a": np.float32(0.5), "n": (np.int64(3), None)}, nodes=1)
    assert outcomes[0].result == {"a": 0.5, "n": [3, None]}
