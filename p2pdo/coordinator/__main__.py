"""`python -m p2pdo.coordinator` is `p2pdo-coordinator`."""

from p2pdo.coordinator.daemon import main

main()
