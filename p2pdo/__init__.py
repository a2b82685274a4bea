"""p2pdo: peer-to-peer distributed optimization."""
