import numpy as np

from p2pdo.problems import Distance, Prox, Smooth, Solvable, Stackable


def test_the_gradient_and_the_prox_are_those_of_the_value() -> None:
    f = Distance([1.0, -2.0])  # type: ignore[arg-type]
    x, step = np.array([0.5, 4.0]), 1e-6
    for k in range(2):
        e = step * np.eye(2)[k]
        slope = (f.value(x + e) - f.value(x - e)) / (2 * step)
        assert abs(slope - f.gradient(x)[k]) < 1e-8
    p = f.prox(x, 3.0)
    assert np.allclose(f.gradient(p) + 3.0 * (p - x), 0, atol=1e-15)


def test_it_offers_all_oracles_of_a_smooth_cost() -> None:
    f = Distance(np.ones(3))
    assert all(isinstance(f, kind) for kind in (Smooth, Prox, Stackable, Solvable))


def test_the_optimum_is_the_mean_of_the_points() -> None:
    points = np.random.default_rng(0).standard_normal((5, 3))
    x = Distance.minimiser([Distance(c) for c in points])
    assert np.allclose(x, points.mean(axis=0), rtol=0, atol=1e-15)
