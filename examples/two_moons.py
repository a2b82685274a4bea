"""Two moons: six nodes in a ring train one network, each on 128 points of its own, in PyTorch.

A 2-256-256-2 network with ReLU, cross entropy, mini-batches of 64, one start for all. Distributed
gradient descent and gradient tracking come to 97 % at every node, GTAdam much sooner. The dashed
curves have the step size 0.01 for all methods, with which the first two are too slow.
"""

import torch
from sklearn.datasets import make_moons
from torch import nn
from torch.nn.functional import cross_entropy

import p2pdo
from p2pdo.problems import TorchProblem
from p2pdo.problems.torch_problem import accuracy
from p2pdo.reporting.curves import Recorder, plot_curves

NODES, ITERATIONS, NOISE = 6, 1000, 0.1


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 2)
    )


def moons(points: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = make_moons(points, noise=NOISE, random_state=seed)
    return torch.tensor(inputs, dtype=torch.float32), torch.tensor(labels)


def train(problems: list[TorchProblem], algorithm: str, step_size: float) -> Recorder:
    """Every node's accuracy on 1000 points that nobody trains on."""
    test = moons(1000, seed=42)
    recorder = Recorder(lambda node, x: accuracy(problems[node].module_at(x), *test))
    p2pdo.run(
        problems,
        algorithm=algorithm,
        parameters={"step_size": step_size},
        rounds=ITERATIONS,
        observe_every=20,
        observe=recorder,
    )
    print(
        f"{algorithm:17} step {step_size}: accuracy at least {min(recorder.last):.1%}, "
        f"95 % after {recorder.first(0.95) or 'more than 1000'} iterations"
    )
    return recorder


def main() -> None:
    problems = [
        TorchProblem(network, cross_entropy, *moons(128, seed=node), batch_size=64)
        for node in range(NODES)
    ]
    dgd = train(problems, "dgd", 0.05)
    tracking = train(problems, "gradient-tracking", 0.05)
    gtadam = train(problems, "gtadam", 0.01)
    slow_dgd = train(problems, "dgd", 0.01)
    slow_tracking = train(problems, "gradient-tracking", 0.01)

    runs = (dgd, tracking, gtadam)
    assert all(min(run.last) >= 0.97 for run in runs)
    sooner, *others = (run.first(0.95) for run in (gtadam, dgd, tracking))
    assert sooner is not None
    assert all(other is not None and sooner <= other / 2 for other in others)

    curves = [
        dgd.curve("DGD 0.05"),
        tracking.curve("tracking 0.05"),
        gtadam.curve("GTAdam 0.01"),
        slow_dgd.curve("DGD 0.01", dashed=True),
        slow_tracking.curve("tracking 0.01", dashed=True),
    ]
    subtitle = "test accuracy: mean, and worst to best node · ring of 6"
    plot_curves(curves, "two_moons.png", "Two moons", subtitle, unit="%")


if __name__ == "__main__":
    main()
