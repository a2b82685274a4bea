"""The method equals its recursion, and obeys p2pdo's laws on rings, stars, one node, two …"""

import numpy as np
import pytest
from PROJECT import Method

from p2pdo.testing import laws

STEP = 0.05


def recursion(net):
    """All nodes at once, in matrices, and without a line of the method's own."""
    X, Y = net.X, net.gradient(net.X)
    while True:
        yield X
        old = net.gradient(X)
        X = net.W @ X - STEP * Y
        Y = net.W @ Y + net.gradient(X) - old


def tracks(states):
    return np.mean([s.y - s.g for s in states], axis=0)


@pytest.mark.parametrize("law", laws.LAWS, ids=laws.name_of)
def test_law(law):
    law(laws.Case(Method(STEP), recursion, invariant=tracks))
