"""BatchNorm over the batch of all ranks."""

from __future__ import annotations

import torch
import torch.distributed
from torch import nn

from adabatch.networks.batch_norm import BatchNorm2dFrom, Reduction, normalize


class SyncBatchNorm2d(BatchNorm2dFrom):
    """Normalises over the samples of all ranks, as if they were one batch; on CPU and GPU.

    Ranks may hold different numbers of samples, including none. Every rank must run the same forwards and backwards,
    because each is a collective. With one rank, this is torch's BatchNorm.

    Args:
        source: the BatchNorm to replace.
        process_group: the ranks; None for all.
    """

    def __init__(self, source: nn.BatchNorm2d, process_group: torch.distributed.ProcessGroup | None) -> None:
        super().__init__(source)
        self.process_group = process_group

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the normalised maps (n, C, h, w)."""
        if self._uses_running_statistics or self._world_size() == 1:
            return super().forward(maps)
        return self._normalize_over_ranks(maps)

    @torch.compiler.disable  # torch.compile cannot trace a collective inside an autograd.Function
    def _normalize_over_ranks(self, maps: torch.Tensor) -> torch.Tensor:
        reduction = Reduction(self.process_group)
        output, mean, var = normalize(maps[None], self.weight, self.bias, self.eps, reduction)
        # A tensor on the device, so the host does not wait for the other ranks' number of values.
        values = reduction.values
        self._track(mean[0], var[0] * (values / (values - 1).clamp(min=1)))
        return output[0]

    def _world_size(self) -> int:
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return 1
        return torch.distributed.get_world_size(self.process_group)
