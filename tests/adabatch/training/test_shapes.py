"""Samples that are no images: ranks without samples, and probes, see their shape and dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from adabatch.config import TrainConfig
from adabatch.config.compose import compose
from adabatch.measure.probe import Probe
from adabatch.training.engine import Engine

CPU = torch.device("cpu")


class Values(nn.Sequential):
    """For samples of shape (2, 5)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(10, num_classes))


class Tokens(nn.Module):
    """For four token ids below 7."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 3)
        self.output = nn.Linear(3, num_classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        assert tokens.dtype == torch.int64
        mean: torch.Tensor = self.output(self.embedding(tokens).mean(1))
        return mean


class Volumes(nn.Module):
    """For samples of shape (1, 3, 3, 3); its weights have five dimensions."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, num_classes, 3)

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.convolution(volumes).flatten(1)
        return out


_CASES: dict[str, tuple[type[nn.Module], Any]] = {
    "values": (Values, np.random.default_rng(0).normal(size=(8, 2, 5))),
    "tokens": (Tokens, np.arange(32).reshape(8, 4) % 7),
    "volumes": (Volumes, np.random.default_rng(0).normal(size=(8, 1, 3, 3, 3))),
}


@pytest.fixture(params=_CASES)
def config(request, tmp_path, monkeypatch) -> TrainConfig:
    network, samples = _CASES[request.param]
    labels = np.arange(8) % 3
    np.savez(tmp_path / "data.npz", x_train=samples, y_train=labels, x_test=samples, y_test=labels)
    monkeypatch.setattr("adabatch.measure.probe._EXPLORING_SECONDS", 0.05)
    return compose(
        ["dataset=tensors", f"dataset.root={tmp_path / 'data.npz'}", f"network={__name__}:{network.__name__}"]
    )


def test_placeholders_of_ranks_without_samples(config):
    engine = Engine(config, CPU)
    samples, labels = engine.placeholder(config.dataset.sample_shape)
    assert samples.shape[1:] == config.dataset.sample_shape
    loss, logits = engine.forward(samples, labels)
    assert logits.shape == (len(labels), 3)
    (loss * 0.0).backward()


def test_micro_batches_can_be_timed(config):
    measurement = Probe(config, CPU).explore(8)
    assert [row.micro_batch_size for row in measurement.rows] == [8]
