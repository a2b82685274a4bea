"""`python -m p2pdo.node` is `p2pdo-node`."""

from p2pdo.node.daemon import main

main()
