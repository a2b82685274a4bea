"""`python -m p2pdo.cli` is `p2pdo`."""

from p2pdo.cli import main

main()
