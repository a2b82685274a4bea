import asyncio

import numpy as np
from PROJECT import solve


def test_the_sites_come_close_to_each_other():
    found = [result["x"] for result in asyncio.run(solve()).values()]
    assert np.ptp(found, axis=0).max() < 1.0  # each alone would stay at its own mean, 0 to 5
