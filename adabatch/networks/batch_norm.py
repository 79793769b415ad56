"""BatchNorm over ghost batches, and what all modes of BatchNorm share.

The modes differ only in training; all keep the parameters, buffers and state-dict names of ``torch.nn.BatchNorm2d``,
so weights load in every mode.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed
from torch import nn


class BatchNorm2dFrom(nn.BatchNorm2d):
    """A ``BatchNorm2d`` that takes over the settings and tensors of another one."""

    def __init__(self, source: nn.BatchNorm2d) -> None:
        super().__init__(source.num_features, source.eps, source.momentum, source.affine, source.track_running_stats)
        self.weight, self.bias = source.weight, source.bias
        self.running_mean, self.running_var = source.running_mean, source.running_var
        self.num_batches_tracked = source.num_batches_tracked
        self.training = source.training

    @property
    def _uses_running_statistics(self) -> bool:
        return not self.training and self.running_mean is not None

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, unbiased_var: torch.Tensor) -> None:
        """Move the running statistics, (C,) each, towards those of this batch, as torch does."""
        if not self.training or self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        if self.momentum is None:  # a cumulative average
            momentum: float | torch.Tensor = 1.0 / self.num_batches_tracked.to(mean.dtype)
        else:
            momentum = self.momentum
        self.running_mean.add_((mean.to(self.running_mean.dtype) - self.running_mean) * momentum)
        self.running_var.add_((unbiased_var.to(self.running_var.dtype) - self.running_var) * momentum)


class GhostBatchNorm2d(BatchNorm2dFrom):
    """Normalises each chunk of ``ghost_batch_size`` consecutive samples separately; the last may be smaller.

    The running statistics are updated once per forward, with the chunks' means and unbiased variances averaged by
    their numbers of samples. A last chunk with one value per channel has variance 0. From Hoffer et al.,
    arXiv 1705.08741, algorithm 1, but with one update of the statistics instead of one per chunk.

    Args:
        source: the BatchNorm to replace.
        ghost_batch_size: samples per chunk.
    """

    def __init__(self, source: nn.BatchNorm2d, ghost_batch_size: int) -> None:
        super().__init__(source)
        self.ghost_batch_size = ghost_batch_size

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the normalised maps (n, C, h, w)."""
        num_samples, size = len(maps), self.ghost_batch_size
        if self._uses_running_statistics or num_samples <= size:
            return super().forward(maps)
        num_whole = num_samples - num_samples % size
        outputs, means, variances = [], [], []
        for chunks in (maps[:num_whole].unflatten(0, (-1, size)), maps[None, num_whole:]):
            if chunks.shape[1] == 0:
                continue
            output, mean, var = normalize(chunks, self.weight, self.bias, self.eps, None)
            values = chunks.shape[1] * chunks.shape[3] * chunks.shape[4]
            chunk_weight = chunks.shape[1] / num_samples
            # Flattening a single chunk of one sample would lose its memory format.
            outputs.append(output[0] if len(output) == 1 else output.flatten(0, 1))
            means.append(mean.sum(0) * chunk_weight)
            variances.append(var.sum(0) * (chunk_weight * values / max(1, values - 1)))
        self._track(sum(means[1:], means[0]), sum(variances[1:], variances[0]))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, ghost_batch_size={self.ghost_batch_size}"


class Reduction:
    """Sums over the ranks; ``values`` is the number of values per channel in the statistics."""

    def __init__(self, process_group: torch.distributed.ProcessGroup | None) -> None:
        self._process_group = process_group
        self.values = torch.zeros(())

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        torch.distributed.all_reduce(tensor, group=self._process_group)
        return tensor

    def mean_and_var(self, mean: torch.Tensor, var: torch.Tensor, values: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and biased variance over the ranks, from those of this rank over its ``values``.

        Count, sums and sums of squares are reduced in float64, where the subtraction loses no accuracy.
        """
        if values == 0:
            mean, var = torch.zeros_like(mean), torch.zeros_like(var)
        mean64, var64 = mean.double(), var.double()
        count = mean64.new_full((*mean64.shape[:-1], 1), float(values))
        packed = torch.cat((count, values * mean64, values * (var64 + mean64.square())), dim=-1)
        count, sums, squares = self.sum(packed).split((1, mean.shape[-1], mean.shape[-1]), dim=-1)
        self.values = count[0, 0]
        mean64 = sums / count
        var64 = (squares / count - mean64.square()).clamp_(min=0)
        return mean64.to(mean.dtype), var64.to(mean.dtype)


def normalize(
    chunks: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
    reduction: Reduction | None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalise chunks (k, m, C, h, w) separately; with a reduction, also over the ranks.

    Returns:
        The chunks, with weight and bias (C,) applied; mean and biased variance, (k, C) each, without gradient.
    """
    result = _Normalize.apply(chunks, weight, bias, eps, reduction)
    return cast(tuple[torch.Tensor, torch.Tensor, torch.Tensor], result)


class _Normalize(torch.autograd.Function):
    """A custom autograd function, so that there is one collective per direction and one saved map."""

    @staticmethod
    def forward(
        ctx: Any,
        chunks: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
        reduction: Reduction | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        values = chunks.shape[1] * chunks.shape[3] * chunks.shape[4]
        wide = _widen(chunks)
        mean = wide.mean((1, 3, 4))
        var = (wide - _spread(mean)).square_().mean((1, 3, 4))
        if reduction is not None:
            mean, var = reduction.mean_and_var(mean, var, values)
        inverse_std = (var + eps).rsqrt()
        scale = inverse_std if weight is None else inverse_std * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        output = (wide * _spread(scale)).add_(_spread(shift)).to(chunks.dtype)
        ctx.save_for_backward(chunks, weight, mean, inverse_std)
        ctx.values, ctx.reduction, ctx.has_bias = values, reduction, bias is not None
        ctx.mark_non_differentiable(mean, var)
        ctx.set_materialize_grads(False)
        return output, mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        chunks, weight, mean, inverse_std = ctx.saved_tensors
        reduction: Reduction | None = ctx.reduction
        gradient = _widen(gradients[0])
        normalized = (_widen(chunks) - _spread(mean)).mul_(_spread(inverse_std))
        gradient_sum = gradient.sum((1, 3, 4))
        product_sum = (gradient * normalized).sum((1, 3, 4))
        weight_gradient = None if weight is None else product_sum.sum(0)
        bias_gradient = gradient_sum.sum(0) if ctx.has_bias else None
        values: int | torch.Tensor = ctx.values
        if reduction is not None:
            gradient_sum, product_sum = reduction.sum(torch.stack((gradient_sum, product_sum)))
            values = reduction.values
        scale = inverse_std if weight is None else inverse_std * weight
        through_mean, through_var = gradient_sum / values, product_sum / values
        output = (gradient - _spread(through_mean)).sub_(normalized.mul_(_spread(through_var))).mul_(_spread(scale))
        return output.to(chunks.dtype), weight_gradient, bias_gradient, None, None


def _widen(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in at least float32, the precision of the statistics."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _spread(per_chunk: torch.Tensor) -> torch.Tensor:
    """Return (k, C) as (k, 1, C, 1, 1), to broadcast with chunks."""
    return per_chunk[:, None, :, None, None]
