"""A global batch as micro-batches x accumulation steps x ranks: the physical micro-batch grows first.

The gradient of an update is the mean over exactly its samples: each micro-batch's loss is weighted by its share of the
update's samples, so how the samples are split changes the result only by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpdateSplit:
    """How one update's samples are divided.

    Attributes:
        num_samples: samples of the update over all ranks.
        micro_batches: per rank, the sizes of its micro-batches in order; every rank has the same number of
            them, so that collectives match. A size of 0 means that the rank has no samples at that position.
    """

    num_samples: int
    micro_batches: tuple[tuple[int, ...], ...]

    @property
    def micro_batch_size(self) -> int:
        """The largest micro-batch."""
        return max(max(sizes) for sizes in self.micro_batches)

    @property
    def accumulation_steps(self) -> int:
        """Micro-batches per update and rank."""
        return len(self.micro_batches[0])

    def rank_start(self, rank: int) -> int:
        """Where the rank's consecutive samples begin within the update."""
        return sum(sum(sizes) for sizes in self.micro_batches[:rank])


def _even_parts(total: int, parts: int) -> tuple[int, ...]:
    small, larger_ones = divmod(total, parts)
    return tuple(small + 1 if part < larger_ones else small for part in range(parts))


def split_update(num_samples: int, world_size: int, max_micro_batch_size: int | None) -> UpdateSplit:
    """Split an update over ranks as evenly as possible, and each rank's share into as few micro-batches as possible.

    Args:
        num_samples: samples of the update, at least 1.
        world_size: number of ranks.
        max_micro_batch_size: cap in samples; None for no cap.

    Raises:
        ValueError: for a count below 1.
    """
    if num_samples < 1 or world_size < 1 or (max_micro_batch_size is not None and max_micro_batch_size < 1):
        raise ValueError(
            f"cannot split {num_samples} samples over {world_size} ranks, capped at {max_micro_batch_size}"
        )
    shares = _even_parts(num_samples, world_size)
    accumulation_steps = -(-shares[0] // (max_micro_batch_size or shares[0]))
    return UpdateSplit(num_samples, tuple(_even_parts(share, accumulation_steps) for share in shares))
