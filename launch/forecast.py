"""Predicts, before training, how long each arm will take here, and whether growing the batch can be faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adabatch.config import TrainConfig, allocations
from adabatch.measure.forecast import Forecast, forecast, micro_batch_counts
from adabatch.measure.times import LinearFit, Measurement
from adabatch.rundir.time_left import wall_seconds
from adabatch.terminal import counted, duration
from launch.expand import Run

#: A larger batch no longer pays where it saves less than this share of the time per sample.
_MIN_SAVING = 0.05
#: A line with a larger relative error than this at a measured size is not trusted beyond the measured sizes.
_TRUSTED_MISFIT = 0.1


@dataclass(frozen=True)
class ArmForecast:
    """One arm of a cell; seconds are of one run.

    Attributes:
        train_seconds: named as in ``summary.json``, like the two that follow.
        device_hours: of all the arm's runs, including tests: GPU-hours, or hours of CPU processes.
        speedup: the baseline's training and growth seconds over the arm's; None for the baseline itself.
        device_cost: the arm's device-seconds over the baseline's, of the same; None where the arm's ranks do not grow.
    """

    arm: str
    num_runs: int
    train_seconds: float
    growth_seconds: float
    test_seconds: float
    device_hours: float
    speedup: float | None
    device_cost: float | None = None


@dataclass(frozen=True)
class CellForecast:
    """Runs that share one measurement and one baseline.

    Attributes:
        largest_speedup: upper bound on the speedup over the baseline for any schedule with the same samples.
        pays_up_to: samples on one device above which, as far as measured, a larger batch saves less than five percent
            of the time per sample. None if the largest measured one still saves more.
        fit: the line through the measured times; None if fewer than three sizes were measured.
        fit_is_trusted: whether the line is used for sizes beyond those measured.
        sizes: the smallest and the largest micro-batch measured.
        uses_graphs: whether the runs replay CUDA graphs.
        counterpart: the same without graphs, or with them; None where that was not measured.
        includes_averaging: whether the averaging of gradients over all numbers of ranks was measured.
    """

    cell: str
    baseline: str
    device_model: str
    measured_at: str
    world_size: int
    sizes: tuple[int, int]
    fit: LinearFit | None
    fit_is_trusted: bool
    pays_up_to: int | None
    largest_speedup: float | None
    arms: tuple[ArmForecast, ...]
    uses_graphs: bool = False
    counterpart: CellForecast | None = None
    includes_averaging: bool = False


@dataclass(frozen=True)
class Totals:
    """What runs take together.

    Attributes:
        device_seconds: of all ranks, tests included.
        wall_seconds: from the first start to the last end.
        num_concurrent: how many run at the same time; None if nothing limits that, so that all do.
    """

    num_runs: int
    device_seconds: float
    wall_seconds: float
    num_concurrent: int | None

    @property
    def text(self) -> str:
        """One sentence."""
        runs = f"{counted(self.num_runs, 'run')} {'takes' if self.num_runs == 1 else 'take'}"
        several = f"{self.num_concurrent} at a time" if self.num_concurrent else "if all run at the same time"
        at_once = "one after another" if self.num_concurrent == 1 else several
        return (
            f"{runs} about {duration(self.device_seconds)} of device time, and {duration(self.wall_seconds)} from "
            f"start to end, {at_once}."
        )


def totals(runs: Sequence[Run], seconds: Sequence[float], num_concurrent: int | None) -> Totals:
    """Return what runs take that start in their order.

    Args:
        seconds: of each run from start to end.
    """
    device_seconds = sum(one * run.config.hardware.world_size for run, one in zip(runs, seconds, strict=True))
    slots = max(1, num_concurrent or len(runs))
    return Totals(len(runs), device_seconds, wall_seconds(seconds, slots), num_concurrent)


def forecast_totals(runs: Sequence[Run], forecasts: Mapping[Path, Forecast], num_concurrent: int | None) -> Totals:
    """Return what runs take together by their forecasts."""
    known = [forecasts[run.run_dir] for run in runs]
    return totals(runs, [one.elapsed_seconds + one.test_seconds for one in known], num_concurrent)


def forecast_runs(runs: Sequence[Run], measured: Mapping[Path, Measurement]) -> dict[Path, Forecast]:
    """Return each run's forecast by its run directory; runs that differ only in seed are computed once."""
    known: dict[tuple[str, str, str], Forecast] = {}
    forecasts = {}
    for run in runs:
        key = (run.cell, run.arm, repr(run.config.schedule))
        if key not in known:
            known[key] = forecast(run.config, measured[run.run_dir])
        forecasts[run.run_dir] = known[key]
    return forecasts


def forecast_cells(runs: Sequence[Run], measured: Mapping[Path, Measurement]) -> list[CellForecast]:
    """Return the forecast of a sweep, one entry per cell and baseline."""
    forecasts = forecast_runs(runs, measured)
    groups: dict[tuple[str, str], dict[str, list[Run]]] = {}
    for run in runs:
        groups.setdefault((run.cell, run.baseline), {}).setdefault(run.arm, []).append(run)
    return [_cell(cell, baseline, arms, measured, forecasts) for (cell, baseline), arms in groups.items()]


def _cell(
    cell: str,
    baseline: str,
    arms: Mapping[str, Sequence[Run]],
    measured: Mapping[Path, Measurement],
    forecasts: Mapping[Path, Forecast],
) -> CellForecast:
    first = next(iter(arms.values()))[0]
    reference = arms[baseline][0] if baseline in arms else None
    measurement = measured[(reference or first).run_dir]
    fit = measurement.fit()
    against = forecasts[reference.run_dir] if reference else None
    return CellForecast(
        cell=cell,
        baseline=baseline,
        device_model=measurement.device_model,
        measured_at=measurement.measured_at,
        world_size=first.config.hardware.world_size,
        sizes=(measurement.rows[0].micro_batch_size, measurement.rows[-1].micro_batch_size),
        fit=fit,
        fit_is_trusted=_is_trusted(fit),
        pays_up_to=pays_up_to(measurement),
        largest_speedup=largest_speedup(reference.config, measurement) if reference else None,
        arms=tuple(_arm(arm, members, forecasts[members[0].run_dir], against) for arm, members in arms.items()),
        uses_graphs=measurement.uses_graphs,
        counterpart=_counterpart(cell, baseline, arms, measured, forecasts),
        includes_averaging=all(
            measured[run.run_dir].averaging_seconds(part.num_ranks) is not None
            for runs in arms.values()
            for run in runs[:1]
            for part in allocations(run.config)
        ),
    )


def _counterpart(
    cell: str,
    baseline: str,
    arms: Mapping[str, Sequence[Run]],
    measured: Mapping[Path, Measurement],
    forecasts: Mapping[Path, Forecast],
) -> CellForecast | None:
    """Return the cell's forecast without graphs if its runs use them, and the other way round."""
    folders = [run.run_dir for runs in arms.values() for run in runs]
    times = {folder: known for folder in folders if (known := measured[folder].counterpart) is not None}
    others = {folder: other for folder in folders if (other := forecasts[folder].counterpart) is not None}
    if not len(times) == len(others) == len(folders):
        return None
    return _cell(cell, baseline, arms, times, others)


def _arm(arm: str, runs: Sequence[Run], own: Forecast, baseline: Forecast | None) -> ArmForecast:
    mean_ranks = own.device_seconds / own.elapsed_seconds if own.elapsed_seconds else 1.0
    hours = (own.elapsed_seconds + own.test_seconds) * mean_ranks / 3600
    is_growing = runs[0].config.hardware.devices is not None
    is_compared = baseline is not None and arm != runs[0].baseline
    return ArmForecast(
        arm=arm,
        num_runs=len(runs),
        train_seconds=own.train_seconds,
        growth_seconds=own.growth_seconds,
        test_seconds=own.test_seconds,
        device_hours=hours * len(runs),
        speedup=baseline.elapsed_seconds / own.elapsed_seconds if baseline and is_compared else None,
        device_cost=own.device_seconds / baseline.device_seconds if baseline and is_compared and is_growing else None,
    )


def largest_speedup(baseline: TrainConfig, measurement: Measurement) -> float:
    """Return an upper bound on the speedup with the baseline's samples: best time per sample, updates at no cost.

    The best time per sample is that of the best measured size or, if the fit is trusted, of an infinitely large batch.
    """
    samples = sum(size * count for size, count in micro_batch_counts(baseline).items())
    seconds_per_sample = min(row.seconds / row.micro_batch_size for row in measurement.rows)
    fit = measurement.fit()
    if fit is not None and _is_trusted(fit):
        seconds_per_sample = min(seconds_per_sample, fit.seconds_per_sample)
    return forecast(baseline, measurement).elapsed_seconds / (samples * seconds_per_sample)


def _is_trusted(fit: LinearFit | None) -> bool:
    return fit is not None and fit.largest_misfit <= _TRUSTED_MISFIT and fit.seconds_per_sample > 0


def pays_up_to(measurement: Measurement) -> int | None:
    """Return the smallest batch per device whose time per sample is within five percent of the best measured.

    The time includes the update's share. Candidates are the powers of two from the smallest to the largest measured
    micro-batch; None if it is the largest, beyond which nothing is known.
    """
    smallest, largest = (measurement.rows[end].micro_batch_size for end in (0, -1))
    powers = [1 << power for power in range(largest.bit_length()) if smallest < 1 << power < largest]
    per_sample = {
        size: (measurement.micro_batch_seconds(size) + measurement.update_seconds) / size
        for size in (smallest, *powers, largest)
    }
    best = min(per_sample.values())
    found = next(size for size, seconds in sorted(per_sample.items()) if seconds <= (1 + _MIN_SAVING) * best)
    return None if found == largest else found
