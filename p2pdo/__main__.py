"""`python -m p2pdo` is `p2pdo`."""

from p2pdo.entry import p2pdo

p2pdo()
