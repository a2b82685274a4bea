"""For all tests."""

import p2pdo  # noqa: F401 - it sets what gRPC reads from the environment, before gRPC is imported
