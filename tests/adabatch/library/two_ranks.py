"""One of two ranks that train with DistributedDataParallel; prints its weights: ``two_ranks.py RANK STORE``."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from adabatch import BatchSchedule, GrowingBatchSampler


def train(rank: int | None = None) -> list[float]:
    """Train on 20 samples with batches of 7 and 14, as a rank, or alone with whole batches; return the weights."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(20, 3, dtype=torch.float64), torch.randn(20, 1, dtype=torch.float64)
    linear = torch.nn.Linear(3, 1, dtype=torch.float64)
    network: torch.nn.Module = linear if rank is None else DistributedDataParallel(linear)
    schedule = BatchSchedule(
        "adabatch", num_train_samples=20, num_epochs=2, learning_rate=0.1, batch_size=7, every_epochs=1
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    sampler = GrowingBatchSampler(20, schedule, max_micro_batch_size=None if rank is None else 2)
    for _ in sampler.epochs():
        for update in sampler.updates(sampler):
            for micro in update:
                waits = isinstance(network, DistributedDataParallel) and not micro.ends_update
                with network.no_sync() if waits else nullcontext():  # type: ignore[operator]
                    loss = ((network(inputs[micro.batch]) - targets[micro.batch]) ** 2).mean()
                    (micro.weight * loss).backward()
            schedule.apply(optimizer)
            optimizer.step()
            optimizer.zero_grad()
    return torch.nn.utils.parameters_to_vector(linear.parameters()).tolist()


if __name__ == "__main__":
    rank, store = int(sys.argv[1]), sys.argv[2]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    print(json.dumps(train(rank)))
    dist.destroy_process_group()
