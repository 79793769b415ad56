"""Random numbers that depend only on the run's seed and their purpose."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(*parts: int | str) -> int:
    """Return a 63-bit seed; different parts give different seeds, for all practical purposes."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str) -> torch.Generator:
    """Return a CPU generator seeded from the parts."""
    return torch.Generator().manual_seed(derived_seed(*parts))


def epoch_order(num_samples: int, seed: int, epoch: int) -> torch.Tensor:
    """Return the order in which an epoch uses its samples: a permutation, int64 of shape (num_samples,)."""
    return torch.randperm(num_samples, generator=generator("order", seed, epoch))
