"""Measured times of micro-batches of several sizes on one device; nothing here imports torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class MicroBatchTime:
    """One size's times in seconds; medians over repetitions, except for those of fastest, growth and first.

    Attributes:
        micro_batch_size: samples in one forward and backward on one device.
        data_seconds: of preparing one micro-batch, and of the loop's work between two updates.
        forward_seconds: of one micro-batch, including loss and metrics.
        backward_seconds: of one micro-batch.
        update_seconds: of one optimizer step.
        fastest_seconds: of the fastest repetition's data, forward and backward together.
        growth_seconds: of compiling and tuning for this size, once, before it is trained on.
        first_seconds: how much longer the first training micro-batch took than later ones.
        graph_seconds: of one micro-batch's forward and backward, where they are replayed as one CUDA graph.
    """

    micro_batch_size: int
    data_seconds: float
    forward_seconds: float
    backward_seconds: float
    update_seconds: float
    fastest_seconds: float
    growth_seconds: float
    first_seconds: float
    graph_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Data, forward and backward of one micro-batch."""
        return self.data_seconds + self.forward_seconds + self.backward_seconds + self.graph_seconds

    @property
    def samples_per_second(self) -> float:
        """Samples per second of the fastest repetition, which other processes disturb less than the medians."""
        return self.micro_batch_size / self.fastest_seconds


@dataclass(frozen=True, slots=True)
class LinearFit:
    """``a + b * micro_batch_size`` seconds for data, forward and backward of a micro-batch.

    Attributes:
        fixed_seconds: a.
        seconds_per_sample: b.
        largest_misfit: the largest relative error of the line at a measured size.
    """

    fixed_seconds: float
    seconds_per_sample: float
    largest_misfit: float


@dataclass(frozen=True)
class Measurement:
    """The times of one network, image shape, precision and so on, on one device.

    Attributes:
        rows: by increasing micro-batch size; never empty.
        test_seconds_per_sample: of one test image on one device.
        out_of_memory_at: the smallest size that did not fit, or left too little memory; None if all fitted.
        device_model: where it was measured.
        measured_at: UTC, ISO 8601.
        uses_graphs: whether micro-batches were replayed as CUDA graphs.
        counterpart: the same without graphs, or with them; None where only one of them is possible.
        averaging: numbers of ranks with the seconds in which they average the gradients of an update, by themselves;
            of those that could be measured.
    """

    rows: tuple[MicroBatchTime, ...]
    test_seconds_per_sample: float
    out_of_memory_at: int | None
    device_model: str
    measured_at: str
    uses_graphs: bool = False
    counterpart: Measurement | None = None
    averaging: tuple[tuple[int, float], ...] = ()

    def with_averaging(self, averaging: tuple[tuple[int, float], ...]) -> Measurement:
        """Return the same with other times of averaging, also in the counterpart."""
        counterpart = self.counterpart and dataclasses.replace(self.counterpart, averaging=averaging)
        return dataclasses.replace(self, counterpart=counterpart, averaging=averaging)

    def averaging_seconds(self, num_ranks: int) -> float | None:
        """Return the seconds that ranks need to average the gradients of an update; None if they are unknown."""
        return 0.0 if num_ranks == 1 else dict(self.averaging).get(num_ranks)

    def micro_batch_seconds(self, size: int) -> float:
        """Return the seconds of data, forward and backward, interpolated and extrapolated linearly."""
        sizes = [row.micro_batch_size for row in self.rows]
        seconds = [row.seconds for row in self.rows]
        if len(sizes) > 1 and size > sizes[-1]:
            slope = (seconds[-1] - seconds[-2]) / (sizes[-1] - sizes[-2])
            return seconds[-1] + max(0.0, slope) * (size - sizes[-1])
        if size > sizes[-1]:
            return seconds[-1] * size / sizes[-1]
        return float(np.interp(size, sizes, seconds))

    @property
    def update_seconds(self) -> float:
        """Seconds of one optimizer step, which do not depend on the batch."""
        return median(row.update_seconds for row in self.rows)

    def nearest(self, size: int) -> MicroBatchTime:
        """Return the times of the nearest measured size, for one-time costs, which hardly depend on the size."""
        return min(self.rows, key=lambda row: abs(row.micro_batch_size - size))

    def fit(self) -> LinearFit | None:
        """Return the least-squares line through the measured times, by relative error.

        None for fewer than three sizes, since a line through two always fits.
        """
        if len(self.rows) < 3:
            return None
        sizes = np.array([row.micro_batch_size for row in self.rows], dtype=float)
        seconds = np.array([row.seconds for row in self.rows])
        slope, intercept = np.polyfit(sizes, seconds, 1, w=1 / seconds)
        misfit = np.abs((intercept + slope * sizes) / seconds - 1).max()
        return LinearFit(float(intercept), float(slope), float(misfit))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measurement:
        """Rebuild what `as_dict` returned.

        Raises:
            TypeError: if the values are from another version.
        """
        other = values.get("counterpart")
        rows = tuple(MicroBatchTime(**row) for row in values["rows"])
        averaging = tuple((int(count), float(seconds)) for count, seconds in values.get("averaging", ()))
        known = {"rows": rows, "counterpart": cls.from_dict(other) if other else None, "averaging": averaging}
        return cls(**{**values, **known})
