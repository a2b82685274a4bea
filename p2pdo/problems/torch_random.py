"""PyTorch's random numbers as a function of a seed.

PyTorch has one generator a device for the whole process, and its dropout takes no other. So who
draws, seeds that generator, draws and puts its state back, and the lock keeps the nodes of an
in-process run, and the workloads of a node, from drawing each other's numbers meanwhile. Models
that draw nothing never wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_generators = threading.RLock()
"""Held while PyTorch's own generators are in a state of ours."""


@contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """What is drawn in the block is a function of `seed`; afterwards nothing was drawn."""
    import torch

    devices = [] if device == "cpu" else [device]
    with _generators, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
