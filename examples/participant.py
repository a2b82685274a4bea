"""Four sites train one PyTorch classifier; each sees two of the classes, and no data moves.

    python examples/participant.py              needs: pip install 'p2pdo[torch]'

Alone, a site never learns the classes that it has not seen. Here each takes a few steps of Adam
on its own data, mixes its model with its two neighbours', and goes on.
"""

import asyncio
from typing import Any

import torch
from torch import nn

import p2pdo
from p2pdo.problems.torch_random import seeded

CLASSES = 4
CENTRES = torch.tensor([[2.0, 2.0], [2.0, -2.0], [-2.0, -2.0], [-2.0, 2.0]])


def points_of(classes: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What a site would read from its own disk."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor(classes).repeat(100)
    points = CENTRES[labels] + torch.randn(len(labels), 2, generator=generator)
    return points, labels


@p2pdo.participant
def train(me: Any, *, lr: float = 0.01, local_steps: int = 5) -> Any:
    with seeded(me.seed):  # the same weights at all sites, whatever else a node does meanwhile
        model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, CLASSES))
    optimizer = torch.optim.Adam(model.parameters(), lr)
    points, labels = points_of([me.node, (me.node + 1) % CLASSES], seed=me.node)

    me.restore(model=model, optimizer=optimizer)
    for k in me.rounds():
        for _ in range(local_steps):
            loss = nn.functional.cross_entropy(model(points), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        me.mix_(model)
        me.log(loss=loss)
        if k % 10 == 9:
            me.checkpoint(model=model, optimizer=optimizer)

    unseen, truth = points_of(list(range(CLASSES)), seed=99)
    accuracy = (model(unseen).argmax(1) == truth).float().mean()
    return {"accuracy": accuracy}


async def main() -> None:
    async with p2pdo.local(nodes=4, topology="ring", processes=True) as net:
        run = await net.submit(train, rounds=40, parameters={"lr": 0.02})
        async for metric in run.metrics(every=10):
            losses = "  ".join(f"{loss:.3f}" for loss in metric.logged["loss"].values())
            print(f"round {metric.iteration:3}  losses {losses}")
        result = await run.result()
    for site, returned in result.results.items():
        print(f"{site}  accuracy on all four classes {returned['accuracy']:.3f}")
        assert returned["accuracy"] > 0.85  # a site alone has at most 0.5


if __name__ == "__main__":
    asyncio.run(main())
