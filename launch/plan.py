"""What a sweep will do, in numbers: stages of every arm, totals, and what is already done."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adabatch.config import TrainConfig
from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import read_summary
from adabatch.rundir.states import State
from adabatch.schedules import EpochPlan, listens_to_signals, tabulate
from adabatch.schedules.batching import split_update
from adabatch.schedules.trajectory import rate_per_sample
from launch.chain_plan import ChainLink, chain_of, mean_ranks
from launch.cluster_config import ClusterConfig
from launch.expand import Expansion
from launch.forecast import CellForecast, Totals
from launch.lint import Finding
from launch.status import RunStatus

#: A schedule with more stages than ``_MAX_ROWS`` is shown in about ``_BLOCKS`` blocks of epochs.
_MAX_ROWS = 12
_BLOCKS = 10


@dataclass(frozen=True)
class Stage:
    """Consecutive epochs that are alike, or a block of a ramp. A pair holds a quantity's first and last value.

    Attributes:
        micro_batch_size: samples in one forward/backward on one rank; None if the cap is still to be measured.
        learning_rate: at the end of the first and of the last epoch.
        rate_per_sample: learning rate / batch size ** exponent.
        updates_per_epoch: of the first and of the last epoch.
        samples_dropped: per epoch.
    """

    first_epoch: int
    last_epoch: int
    batch_size: tuple[int, int]
    micro_batch_size: tuple[int, int] | None
    accumulation_steps: tuple[int, int] | None
    world_size: int
    learning_rate: tuple[float, float]
    rate_per_sample: tuple[float, float]
    updates_per_epoch: tuple[int, int]
    samples_dropped: tuple[int, int]


@dataclass(frozen=True)
class ArmPlan:
    """One arm in the cells where its plan is the same.

    Attributes:
        updates, samples: of a run.
        listens_to_signals: whether the schedule decides by what training measures, so that only its start is known.
        chain: the epochs with each number of ranks; empty if it is the same throughout.
    """

    arm: str
    cells: tuple[str, ...]
    num_runs: int
    num_epochs: int
    stages: tuple[Stage, ...]
    updates: int
    samples: int
    samples_dropped: int
    listens_to_signals: bool = False
    chain: tuple[ChainLink, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """Device-hours: a device is a GPU, or a CPU process. None until every cell has a finished run."""

    device: str
    total_hours: float | None
    left_hours: float | None
    finished_runs: int


@dataclass(frozen=True)
class Plan:
    """A whole sweep, planned."""

    sweep: str
    folder: str
    num_runs: int
    states: dict[str, int]
    arms: tuple[ArmPlan, ...]
    updates: int
    estimate: Estimate
    findings: tuple[Finding, ...]
    runs: tuple[dict[str, Any], ...]
    forecast: tuple[CellForecast, ...]
    forecast_totals: Totals | None = None

    def as_json(self) -> str:
        """Return the plan as JSON."""
        values = dataclasses.asdict(self)
        values["findings"] = [finding.as_dict() for finding in self.findings]
        return json.dumps(values, indent=2)


def make_plan(
    expansion: Expansion,
    statuses: Sequence[RunStatus],
    findings: Sequence[Finding],
    forecast: Sequence[CellForecast] = (),
    forecast_totals: Totals | None = None,
    cluster: ClusterConfig | None = None,
) -> Plan:
    """Plan a sweep.

    Args:
        statuses: of the sweep's runs, in the same order.
        findings: of `lint`.
        forecast: of `launch.forecast.forecast_cells`; empty if nothing was measured.
        forecast_totals: of `launch.forecast.forecast_totals`.
        cluster: of SLURM, if one was named.
    """
    arms = _arm_plans(expansion, cluster)
    states = Counter(status.state.value for status in statuses)
    listed = tuple(
        {"run_dir": str(run.run_dir), "arm": run.arm, "cell": run.cell, "seed": run.seed, "state": status.state.value}
        for run, status in zip(expansion.runs, statuses, strict=True)
    )
    return Plan(
        sweep=expansion.sweep.name,
        folder=str(expansion.folder),
        num_runs=len(expansion.runs),
        states=dict(states),
        arms=tuple(arms),
        updates=sum(arm.updates * arm.num_runs for arm in arms),
        estimate=_estimate(expansion, statuses),
        findings=tuple(findings),
        runs=listed,
        forecast=tuple(forecast),
        forecast_totals=forecast_totals,
    )


def _arm_plans(expansion: Expansion, cluster: ClusterConfig | None) -> list[ArmPlan]:
    """Return the arms in the sweep's order; cells in which an arm's plan is the same are merged."""
    plans: dict[tuple[str, str], ArmPlan] = {}
    for run in expansion.runs:
        key = (run.arm, _schedule_key(run.config))
        if key not in plans:
            plans[key] = _plan_arm(run.arm, run.cell, run.config, cluster)
        plan = plans[key]
        cells = plan.cells if run.cell in plan.cells else (*plan.cells, run.cell)
        plans[key] = dataclasses.replace(plan, cells=cells, num_runs=plan.num_runs + 1)
    return list(plans.values())


def _schedule_key(config: TrainConfig) -> str:
    data = (config.dataset.num_train_samples, config.dataset.partial_batch)
    split = (config.hardware.world_size, config.hardware.devices, config.max_micro_batch_size)
    return repr((config.schedule, config.optimizer.learning_rate, config.num_epochs, data, split))


def _plan_arm(arm: str, cell: str, config: TrainConfig, cluster: ClusterConfig | None) -> ArmPlan:
    rows = epoch_rows(config)
    return ArmPlan(
        arm=arm,
        cells=(cell,),
        num_runs=0,
        num_epochs=config.num_epochs,
        stages=tuple(stages(config, rows)),
        updates=sum(row.num_updates for row in rows),
        samples=sum(row.num_samples for row in rows),
        samples_dropped=sum(row.samples_dropped for row in rows),
        listens_to_signals=listens_to_signals(config.build_schedule(), config.num_epochs),
        chain=chain_of(config, cluster),
    )


def epoch_rows(config: TrainConfig) -> list[EpochPlan]:
    """Return one row per epoch of a run."""
    data = config.dataset
    return tabulate(config.build_schedule(), config.num_epochs, data.num_train_samples, data.partial_batch)


def stages(config: TrainConfig, rows: Sequence[EpochPlan]) -> list[Stage]:
    """Merge consecutive epochs that are alike; warm-up epochs with the same batch size count as alike."""
    warmup = config.schedule.warmup_epochs
    groups: list[list[EpochPlan]] = []
    for row in rows:
        last = groups[-1][-1] if groups else None
        alike = last is not None and last.batch_size == row.batch_size and last.num_updates == row.num_updates
        same_learning_rate = last is not None and last.learning_rate == row.learning_rate
        if alike and (same_learning_rate or row.epoch <= warmup):
            groups[-1].append(row)
        else:
            groups.append([row])
    if len(groups) > _MAX_ROWS:
        size = -(-len(rows) // _BLOCKS)
        groups = [list(rows[start : start + size]) for start in range(0, len(rows), size)]
    return [_stage(config, group) for group in groups]


def _stage(config: TrainConfig, rows: Sequence[EpochPlan]) -> Stage:
    first, last = rows[0], rows[-1]
    exponent = config.schedule.learning_rate_exponent
    cap = config.max_micro_batch_size
    world_size = config.hardware.ranks_for(first.batch_size)
    splits = None if cap == "auto" else [split_update(row.batch_size, world_size, cap) for row in (first, last)]
    return Stage(
        first_epoch=first.epoch,
        last_epoch=last.epoch,
        batch_size=(first.batch_size, last.batch_size),
        micro_batch_size=None if splits is None else (splits[0].micro_batch_size, splits[1].micro_batch_size),
        accumulation_steps=None if splits is None else (splits[0].accumulation_steps, splits[1].accumulation_steps),
        world_size=world_size,
        learning_rate=(first.learning_rate, last.learning_rate),
        rate_per_sample=(
            rate_per_sample(first.learning_rate, first.batch_size, exponent),
            rate_per_sample(last.learning_rate, last.batch_size, exponent),
        ),
        updates_per_epoch=(first.num_updates, last.num_updates),
        samples_dropped=(first.samples_dropped, last.samples_dropped),
    )


def _estimate(expansion: Expansion, statuses: Sequence[RunStatus]) -> Estimate:
    """Estimate device-hours from finished runs of the same arm and cell, otherwise of the same cell."""
    by_arm: dict[tuple[str, str], list[float]] = {}
    by_cell: dict[str, list[float]] = {}
    for run, status in zip(expansion.runs, statuses, strict=True):
        if status.state is State.DONE:
            values = read_summary(RunDir(run.run_dir))
            seconds = values.get("wall_seconds") or values.get("elapsed_seconds")
            if seconds:
                hours = seconds * mean_ranks(run.config, RunDir(run.run_dir)) / 3600
                by_arm.setdefault((run.cell, run.arm), []).append(hours)
                by_cell.setdefault(run.cell, []).append(hours)
    total, left = 0.0, 0.0
    known = True
    for run, status in zip(expansion.runs, statuses, strict=True):
        hours_known = by_arm.get((run.cell, run.arm)) or by_cell.get(run.cell)
        if not hours_known:
            known = False
            continue
        hours = sum(hours_known) / len(hours_known)
        total += hours
        left += 0.0 if status.state is State.DONE else hours
    device = "GPU" if expansion.runs[0].config.hardware.device == "cuda" else "CPU process"
    finished = sum(map(len, by_arm.values()))
    return Estimate(device, total if known else None, left if known else None, finished)
