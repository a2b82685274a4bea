"""For all tests."""

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

import p2pdo  # noqa: F401 - it sets what gRPC reads from the environment, before gRPC is imported

SITE_CODE = ("ward", "site_code")
"""What sites call their modules in tests and in the documentation, each with other code in it."""

settings.register_profile("p2pdo", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("p2pdo")  # a busy machine makes no example wrong


@pytest.fixture(autouse=True)
def no_site_code_left() -> Iterator[None]:
    """One test's site is not on the next one's path."""
    path = list(sys.path)
    yield
    sys.path[:] = path
    for name in SITE_CODE:
        sys.modules.pop(name, None)
