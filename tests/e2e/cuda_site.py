"""A site's own code for the tests on GPUs: each rank computes on the one that it sees."""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch

import p2pdo


class Ranks(p2pdo.Executor):
    @p2pdo.task
    def compute(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
        total = torch.arange(1000.0, device="cuda").sum().item() + context.rank
        told = {
            "visible": os.environ["CUDA_VISIBLE_DEVICES"],
            "devices": torch.cuda.device_count(),
            "total": total,
        }
        (Path(task.payload) / f"{context.rank}.json").write_text(json.dumps(told))
        return None
