import numpy as np
from PROJECT import problems, solve


def test_the_nodes_agree_on_the_mean_of_their_points():
    expected = np.mean([cost.a for cost in problems()], axis=0)
    np.testing.assert_allclose(solve(on="dense").x, expected, atol=1e-10)
