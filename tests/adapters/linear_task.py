"""What the scripts of the ranks train: 21 samples in batches of 4, 8 and 16, at most 3 in a micro-batch."""

from __future__ import annotations

import torch

from adabatch import BatchSchedule, GrowingBatchSampler

NUM_SAMPLES, CAP = 21, 3
INPUTS = torch.linspace(-1, 1, NUM_SAMPLES, dtype=torch.float64)[:, None] ** torch.arange(1, 4)
TARGETS = INPUTS @ torch.tensor([0.3, -0.2, 0.5], dtype=torch.float64)


def make_schedule() -> BatchSchedule:
    """Return batches of 4, 8 and 16 in epochs 1, 2 and 3, at rates of 0.1, 0.05 and 0.025."""
    arguments = {"batch_size": 4, "every_epochs": 1, "learning_rate_decay": 0.5}
    return BatchSchedule("adabatch", num_train_samples=NUM_SAMPLES, num_epochs=3, learning_rate=0.1, **arguments)


def loss_of(weights: torch.Tensor, indices: torch.Tensor | list[int]) -> torch.Tensor:
    return ((INPUTS[indices] @ weights - TARGETS[indices]) ** 2).mean()


def by_hand() -> torch.Tensor:
    """Return the weights of a plain loop on one rank that takes each update as one batch."""
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    sgd = torch.optim.SGD([weights], lr=0.1, momentum=0.9)
    sampler = GrowingBatchSampler(NUM_SAMPLES, make_schedule(), seed=7)
    for _ in sampler.epochs():
        for update in sampler.updates(sampler):
            (micro,) = update
            sgd.param_groups[0]["lr"] = update.learning_rate
            sgd.zero_grad()
            loss_of(weights, micro.batch).backward()
            sgd.step()
    return weights.detach()
