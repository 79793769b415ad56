"""Chooses over which samples BatchNorm normalizes: a micro-batch, ghost batches, or the batch of all ranks."""

from __future__ import annotations

import torch.distributed
from torch import nn

from adabatch.fields import require, require_choice
from adabatch.networks.batch_norm import GhostBatchNorm2d

BATCH_NORM_MODES = ("micro", "ghost", "sync")


def set_batch_norm_mode(
    module: nn.Module,
    mode: str,
    ghost_batch_size: int,
    process_group: torch.distributed.ProcessGroup | None = None,
) -> nn.Module:
    """Replace every ``BatchNorm2d`` below ``module`` by the one for the mode, with the same tensors.

    Args:
        module: changed in place.
        mode: ``micro`` leaves torch's, over the samples of one forward; ``ghost``: `GhostBatchNorm2d`;
            ``sync``: `adabatch.networks.sync_batch_norm.SyncBatchNorm2d`.
        ghost_batch_size: samples per ghost batch, for ``ghost``.
        process_group: ranks that share statistics, for ``sync``; None for all.

    Returns:
        ``module``, or its replacement where it is a ``BatchNorm2d`` itself.

    Raises:
        ConfigError: for an unknown mode or a ghost batch of fewer than 2 samples.
    """
    require_choice("batch_norm", mode, BATCH_NORM_MODES)
    require(ghost_batch_size >= 2, "ghost_batch_size", ghost_batch_size, "at least 2 samples")
    if mode == "micro":
        return module
    if type(module) is nn.BatchNorm2d:
        if mode == "ghost":
            return GhostBatchNorm2d(module, ghost_batch_size)
        # It loads torch's compiler, which takes about as long as torch itself.
        from adabatch.networks.sync_batch_norm import SyncBatchNorm2d

        return SyncBatchNorm2d(module, process_group)
    for name, child in module.named_children():
        replacement = set_batch_norm_mode(child, mode, ghost_batch_size, process_group)
        if replacement is not child:
            setattr(module, name, replacement)
    return module
