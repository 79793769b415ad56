"""Trains with Lightning on two ranks: python lightning_rank.py FOLDER; Lightning starts the second one."""

from __future__ import annotations

import os
import sys
from typing import Any

import lightning.pytorch as lightning
import torch
from torch.utils.data import TensorDataset

from adabatch import GrowingBatchSampler
from adabatch.adapters.lightning import BatchScheduleCallback, GrowingDataLoader
from tests.adapters.linear_task import CAP, NUM_SAMPLES, loss_of, make_schedule


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.seen: list[list[int]] = []

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        (indices,) = batch
        self.seen.append(indices.tolist())
        return loss_of(self.weights, indices)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def main() -> None:
    torch.set_num_threads(1)
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    sampler = GrowingBatchSampler(
        NUM_SAMPLES, make_schedule(), seed=7, max_micro_batch_size=CAP, rank=rank, world_size=2
    )
    trainer = lightning.Trainer(
        max_epochs=3, accelerator="cpu", devices=2, strategy="ddp", use_distributed_sampler=False, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
        default_root_dir=sys.argv[1], callbacks=[BatchScheduleCallback(sampler)],
    )  # fmt: skip
    module = Module()
    trainer.fit(module, GrowingDataLoader(TensorDataset(torch.arange(NUM_SAMPLES)), sampler))
    torch.save({"seen": module.seen, "weights": module.weights.detach()}, f"{sys.argv[1]}/rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main()
