"""One rank of a training with Hugging Face's trainer: torchrun --nproc-per-node 2 hugging_face_rank.py FOLDER."""

from __future__ import annotations

import sys

import torch
from transformers import Trainer, TrainingArguments

from adabatch.adapters.hugging_face import BatchScheduleMixin
from tests.adapters.linear_task import CAP, NUM_SAMPLES, loss_of, make_schedule


class Linear(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.seen: list[list[int]] = []

    def forward(self, index: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        self.seen.append(index.tolist())
        return {"loss": loss_of(self.weights, index), "logits": index}


class GrowingTrainer(BatchScheduleMixin, Trainer):
    pass


def main() -> None:
    torch.set_num_threads(1)
    folder = sys.argv[1]
    arguments = TrainingArguments(
        output_dir=folder, learning_rate=0.1, num_train_epochs=3, per_device_train_batch_size=CAP, optim="sgd",
        optim_args="momentum=0.9", use_cpu=True, report_to=[], save_strategy="no", max_grad_norm=0.0, seed=7,
        weight_decay=0.0, disable_tqdm=True,
    )  # fmt: skip
    samples = [{"index": index, "labels": 0} for index in range(NUM_SAMPLES)]
    network = Linear()
    trainer = GrowingTrainer(network, arguments, train_dataset=samples, batch_schedule=make_schedule())
    trainer.train()
    torch.save(
        {"seen": network.seen, "weights": network.weights.detach()}, f"{folder}/rank{arguments.process_index}.pt"
    )


if __name__ == "__main__":
    main()
