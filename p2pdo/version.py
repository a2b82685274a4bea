"""Which p2pdo this is. The package is built with it; to read it from its metadata takes 2 MB."""

VERSION = "0.1.0"
