"""The loop of the paper's published code, rewritten: what the trainer of this package is measured against.

What makes it slow is kept, because it is what people run: Python makes every sample from a PIL image in worker
processes, every batch waits for the device before and after the forward and the backward pass, and every step fetches
loss and accuracy as numbers. Where the original is not known, the choice is in its favour: on a GPU, batches lie in
pinned memory, and no progress bar is drawn.

``python -m benchmarks.reference_loop`` is one turn of an arm of `training_speed`. It sets the number of threads, as a
user would, and does not import the parts of this package that set more of its process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from adabatch.networks import build_network
from adabatch.rundir.cores import available_cores
from benchmarks.arm import Measured, print_measured
from benchmarks.images import (
    CROP_PADDING,
    IMAGE_SIZE,
    MEAN,
    NUM_CHANNELS,
    NUM_CLASSES,
    STD,
    LabelledImages,
    load_images,
)
from benchmarks.training_case import Case

_WARM_UP_BATCHES = 2


class PilImages(Dataset[tuple[torch.Tensor, int]]):
    """Makes one sample at a time: array to PIL image, random crop, random flip, tensor, normalised."""

    def __init__(self, images: LabelledImages) -> None:
        self._arrays = images.pixels.numpy()
        self._labels: list[int] = images.labels.tolist()
        self._transform = transforms.Compose(
            [
                transforms.RandomCrop(IMAGE_SIZE, padding=CROP_PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([MEAN] * NUM_CHANNELS, [STD] * NUM_CHANNELS),
            ]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(np.asarray(self._arrays[index]))
        return self._transform(image), self._labels[index]


@dataclass
class EpochTimes:
    """One epoch: its whole duration, what the loop's own timers measured, and its mean loss and accuracies."""

    seconds: float = 0.0
    forward_seconds: float = 0.0
    backward_seconds: float = 0.0
    num_samples: int = 0
    mean_loss: float = 0.0
    top1_accuracy: float = 0.0
    top5_accuracy: float = 0.0


class ReferenceLoop:
    """Trains a network the way the published code does, in float32.

    Args:
        network: on ``device``.
        images: of an epoch.
        batch_size: samples in one forward and backward; incomplete batches are dropped.
        accumulation_steps: batches per optimizer step.
        num_workers: processes that make the samples.
        device: where to compute.

    Attributes:
        data: what the images show.
    """

    def __init__(
        self,
        network: nn.Module,
        images: LabelledImages,
        batch_size: int,
        accumulation_steps: int,
        num_workers: int,
        device: torch.device,
    ) -> None:
        self.data = images.name
        self._network = network
        self._device = device
        self._accumulation_steps = accumulation_steps
        self._criterion = nn.CrossEntropyLoss()
        self._optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        self._loader = DataLoader(
            PilImages(images),
            batch_size=batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=num_workers,
            pin_memory=device.type == "cuda",
        )

    def train_epoch(self) -> EpochTimes:
        """Train on all samples once. As in the original, an epoch starts its workers."""
        times = EpochTimes()
        self._network.train()
        started = time.perf_counter()
        for step, (images, labels) in enumerate(self._loader):
            if step % self._accumulation_steps == 0:
                self._optimizer.zero_grad()
            self._step(images, labels, times)
            if (step + 1) % self._accumulation_steps == 0:
                self._optimizer.step()
        self._wait_for_device()
        times.seconds = time.perf_counter() - started
        return times

    def _step(self, images: torch.Tensor, labels: torch.Tensor, times: EpochTimes) -> None:
        images = images.to(self._device, non_blocking=True)
        labels = labels.to(self._device, non_blocking=True)
        forward_start = self._wait_for_device()
        logits = self._network(images)
        times.forward_seconds += self._wait_for_device() - forward_start
        loss = self._criterion(logits, labels) / self._accumulation_steps
        self._record(loss, logits.detach(), labels, times)
        backward_start = self._wait_for_device()
        loss.backward()
        loss.item()
        times.backward_seconds += self._wait_for_device() - backward_start

    def _record(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor, times: EpochTimes) -> None:
        """Update the running means of loss and accuracies; each value is fetched from the device as a number."""
        count = len(labels)
        hits = logits.topk(5, dim=1).indices.t().eq(labels.view(1, -1))
        fetched = {
            "mean_loss": loss.item() * self._accumulation_steps,
            "top1_accuracy": hits[:1].float().sum().item() / count,
            "top5_accuracy": hits.float().sum().item() / count,
        }
        seen = times.num_samples
        times.num_samples = seen + count
        for name, value in fetched.items():
            setattr(times, name, (getattr(times, name) * seen + value * count) / times.num_samples)

    def _wait_for_device(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()


def build_loop(case: Case) -> ReferenceLoop:
    """Set this process up as a user would, and return the loop of a case, warmed up."""
    torch.set_num_threads(available_cores())
    images = load_images(case.num_samples, case.fashion_mnist)
    device = torch.device(case.device)
    torch.backends.cudnn.allow_tf32 = False  # so that fp32 means the same as in our trainer
    torch.manual_seed(0)
    network = build_network(case.network, NUM_CHANNELS, NUM_CLASSES, IMAGE_SIZE).to(device)

    def loop(images: LabelledImages) -> ReferenceLoop:
        return ReferenceLoop(network, images, case.batch_size, 1, case.num_workers, device)

    loop(images.first(_WARM_UP_BATCHES * case.batch_size)).train_epoch()
    return loop(images)


def _build(order: dict[str, Any]) -> Callable[[], Measured]:
    case = Case(**order["case"])
    measured = build_loop(case)
    return lambda: {**asdict(measured.train_epoch()), "data": measured.data}


if __name__ == "__main__":
    print_measured(_build)
