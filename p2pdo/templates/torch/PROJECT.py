"""A PyTorch model that sites learn together with GTAdam. Run it: python PROJECT.py"""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import p2pdo
from p2pdo.problems import TorchProblem

CENTRES = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 3))


def points(seed, labels):
    noise = torch.randn(len(labels), 2, generator=torch.Generator().manual_seed(seed))
    return CENTRES[labels] + 0.3 * noise, labels


def costs(nodes=3):  # node i has two of the three classes: its own and the next
    data = [points(i, torch.tensor([i, (i + 1) % 3] * 50)) for i in range(nodes)]
    return [TorchProblem(network, cross_entropy, *rows, batch_size=20) for rows in data]


def accuracy(problem, x):
    inputs, labels = points(99, torch.arange(300) % 3)
    return float((problem.module_at(x)(inputs).argmax(1) == labels).float().mean())


def solve(rounds=200):
    problems = costs()
    result = p2pdo.run(problems, algorithm="gtadam", nodes=3, rounds=rounds)
    return [accuracy(p, x) for p, x in zip(problems, result.states)]


if __name__ == "__main__":
    print("accuracy on all three classes, site by site:", solve())
