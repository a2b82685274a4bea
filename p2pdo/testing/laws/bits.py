"""What of states is compared to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from p2pdo.protocol.judging import Report
from p2pdo.reporting.digests import state_sha256
from p2pdo.types import Array


def digest(reports: Sequence[Report]) -> str:
    return state_sha256([report.x for report in reports])


def arrays(state: Any) -> list[Array]:
    return [np.asarray(leaf) for leaf in state]


def bits(state: Any) -> list[bytes]:
    return [a.tobytes() for a in arrays(state)]
