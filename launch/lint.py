"""Finds differences that would make a sweep's arms incomparable, before anything runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adabatch.config import ScheduleConfig, StepwiseScheduleConfig, TrainConfig, differences, to_dict
from adabatch.fields import Difference, require
from adabatch.measure.feasible import doubts
from adabatch.measure.forecast import micro_batch_counts
from adabatch.schedules import Progress, Schedule
from adabatch.schedules.batching import split_update
from adabatch.schedules.coupled import CoupledSchedule
from adabatch.schedules.trajectory import (
    EXPONENT_KEY,
    RATE_RULE,
    TOLERANCE,
    WARMUP_KEY,
    Trajectory,
    boundaries_sentence,
    compare,
    constant_factor,
    factor_sentence,
    planned_trajectory,
)
from adabatch.terminal import counted, number_text
from launch import remedies
from launch.expand import Expansion, Run
from launch.lint_chain import chain_notes

ERROR, NOTE = "error", "note"
#: Level and meaning of every code.
CODES = {
    "rate-differs": (ERROR, "the learning rate per sample is not proportional to the baseline's"),
    "boundaries-differ": (ERROR, "learning-rate boundaries differ from the baseline's"),
    "exponent-differs": (ERROR, "schedule.learning_rate_exponent differs from the baseline's, and both batches vary"),
    "epochs-differ": (ERROR, "the number of epochs differs from the baseline's"),
    "seeds-differ": (ERROR, "the seeds differ from the baseline's"),
    "micro-batch-differs": (
        ERROR,
        "the micro-batch cap, and so BatchNorm's statistics, differ from the baseline's",
    ),
    "precision-differs": (ERROR, "the precision differs from the baseline's"),
    "partial-batch-differs": (ERROR, "the rule for an epoch's last, partial batch differs from the baseline's"),
    "warmup-differs": (ERROR, "the warm-up ends at another epoch than the baseline's"),
    "config-differs": (ERROR, "another key besides the schedule differs from the baseline's"),
    "no-baseline": (ERROR, "a cell has no run of the baseline"),
    "learning-rate-grows": (ERROR, "the learning rate rises after the warm-up"),
    "rate-vanishes": (ERROR, "the learning rate per sample falls so fast that training stops: a typo in the decay"),
    "batch-exceeds-data": (ERROR, "the first batch is larger than the training set"),
    "ranks-do-not-divide": (ERROR, "a batch does not divide evenly over the ranks"),
    "devices-not-planned": (ERROR, "hardware.devices does not say how many ranks train every batch"),
    "single-sample-batch": (ERROR, "a micro-batch has one sample, which the network's BatchNorm cannot normalize"),
    "warmup-too-long": (ERROR, "the warm-up is longer than the training"),
    "ghost-batch-too-large": (NOTE, "no micro-batch is larger than a ghost batch"),
    "start-rate-differs": (
        NOTE,
        "arms that start at different batch sizes differ in the learning rate per sample",
    ),
    "growth-never-happens": (NOTE, "no boundary falls within the training, so the batch never grows"),
    "growth-capped": (NOTE, "a cap prevents growth, which becomes learning-rate decay"),
    "chain-costs-more": (NOTE, "more ranks leave each of them less work, so that they cost more than they save"),
    "growth-not-physical": (NOTE, "the micro-batch never grows, so nothing gets faster"),
    "many-shapes": (NOTE, "a ramp has so many micro-batch sizes that tuning takes most of the time"),
    "no-large-fixed": (NOTE, "no fixed arm has the adaptive arm's largest batch"),
    "no-equal-start": (NOTE, "no fixed arm has the adaptive arm's first batch"),
    "one-seed": (NOTE, "a single seed shows no spread"),
}
_SMALLEST_TOTAL_DECAY = 1e-6
_SMALLEST_DECAY = 0.05
_MANY_SHAPES = 64
#: Codes of differences by key; any other key is ``config-differs``.
_CODE_BY_KEY = {
    "num_epochs": "epochs-differ",
    "max_micro_batch_size": "micro-batch-differs",
    "hardware.precision": "precision-differs",
    "dataset.partial_batch": "partial-batch-differs",
    WARMUP_KEY: "warmup-differs",
    EXPONENT_KEY: "exponent-differs",
    RATE_RULE: "rate-differs",
}


@dataclass(frozen=True)
class Finding:
    """One problem that lint found.

    Attributes:
        arm: the arm's folder name; None for the whole sweep.
        cells: the cells where it was found.
        sentence: the problem, with numbers.
        remedy: how to fix it.
    """

    code: str
    arm: str | None
    cells: tuple[str, ...]
    sentence: str
    remedy: str

    @property
    def level(self) -> str:
        """``error`` stops a submission, ``note`` does not."""
        return CODES[self.code][0]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"level": self.level, **self.__dict__, "cells": list(self.cells)}


@dataclass(frozen=True)
class _Found:
    code: str
    sentence: str
    remedy: str


class _Plan:
    """The schedule of an arm, and its decisions by epoch."""

    def __init__(self, config: TrainConfig) -> None:
        self.num_samples = config.dataset.num_train_samples
        self.settings: ScheduleConfig = config.schedule
        self.schedule: Schedule = config.build_schedule()
        self.trajectory: Trajectory = planned_trajectory(
            self.schedule, config.num_epochs, config.schedule.warmup_epochs, config.schedule.learning_rate_exponent
        )
        self.batches: list[int] = self.trajectory.batch_sizes.tolist()


def check_codes(codes: Sequence[str]) -> list[str]:
    """Return the codes of ``--allow``, sorted.

    Raises:
        ConfigError: for an unknown code.
    """
    for code in codes:
        require(code in CODES, "--allow", code, "one of " + ", ".join(CODES))
    return sorted(set(codes))


def refused_codes(findings: Sequence[Finding], allowed: Sequence[str]) -> list[str]:
    """Return the codes of the errors that are not allowed, sorted: with one of them nothing is submitted."""
    return sorted({finding.code for finding in findings if finding.level == ERROR} - set(allowed))


def lint(expansion: Expansion) -> list[Finding]:
    """Return the findings, errors first; a finding in several cells is listed once."""
    points: dict[str, dict[str, list[Run]]] = {}
    for run in expansion.runs:
        point = f"{run.cell} {json.dumps(run.swept, sort_keys=True, default=str)}"
        points.setdefault(point, {}).setdefault(run.arm, []).append(run)
    merged: dict[tuple[str, str | None, str, str], list[str]] = {}
    plans: dict[str, _Plan] = {}
    for arms in points.values():
        for arm, found in _lint_point(arms, plans):
            cell = next(iter(arms.values()))[0].cell
            listed = merged.setdefault((found.code, arm, found.sentence, found.remedy), [])
            if cell not in listed:
                listed.append(cell)
    if len(expansion.sweep.seeds) == 1:
        found = _Found(
            "one-seed",
            f"Every arm has one seed ({expansion.sweep.seeds[0]}), so the spread between runs is unknown.",
            "List at least three in sweep.seeds.",
        )
        merged[found.code, None, found.sentence, found.remedy] = []
    findings = [Finding(code, arm, tuple(where), text, remedy) for (code, arm, text, remedy), where in merged.items()]
    order = list(CODES)
    return sorted(findings, key=lambda finding: (finding.level != ERROR, order.index(finding.code)))


def _plan(config: TrainConfig, plans: dict[str, _Plan]) -> _Plan:
    key = repr((config.schedule, config.optimizer.learning_rate, config.dataset.num_train_samples, config.num_epochs))
    if key not in plans:
        plans[key] = _Plan(config)
    return plans[key]


def _lint_point(arms: dict[str, list[Run]], plans: dict[str, _Plan]) -> Iterator[tuple[str | None, _Found]]:
    """Yield the findings for the arms of one grid point, whose runs will be compared."""
    baseline = next(iter(arms.values()))[0].baseline
    planned = {arm: _plan(runs[0].config, plans) for arm, runs in arms.items()}
    for arm, runs in arms.items():
        for found in _lint_arm(runs[0].config, planned[arm]):
            yield arm, found
        if baseline not in arms:
            sentence = f"{runs[0].cell} has no run of the baseline {baseline}."
            yield arm, _Found("no-baseline", sentence, "Give the arms the same network and data set.")
        elif arm != baseline:
            for found in _compare(runs, arms[baseline], planned[arm], planned[baseline]):
                yield arm, found
    for found in _missing_arms(planned):
        yield None, found


def _lint_arm(config: TrainConfig, plan: _Plan) -> Iterator[_Found]:
    yield from _lint_learning_rates(config, plan)
    first, samples = config.schedule.batch_size, plan.num_samples
    if first > samples:
        yield _Found(
            "batch-exceeds-data",
            f"schedule.batch_size is {first}, but the training set has {counted(samples, 'sample')}.",
            f"Set schedule.batch_size to at most {samples}.",
        )
    world_size = config.hardware.world_size
    uneven = sorted({batch for batch in plan.batches if batch % world_size})
    if uneven and config.hardware.devices is None and plan.schedule.constant_within_epoch:
        yield _Found(
            "ranks-do-not-divide",
            f"Batches of {', '.join(map(number_text, uneven))} do not divide evenly over "
            f"{counted(world_size, 'rank')}.",
            f"Choose batch sizes and growth so that every batch is a multiple of {world_size}.",
        )
    yield from _lint_growth(config, plan)
    yield from (_Found(*found) for found in chain_notes(config))
    yield from _lint_shapes(config)
    for doubt in doubts(config):
        yield _Found(doubt.code, doubt.sentence, doubt.remedy)


def _lint_learning_rates(config: TrainConfig, plan: _Plan) -> Iterator[_Found]:
    """Yield findings about the learning rate after the warm-up."""
    start = min(config.schedule.warmup_epochs, config.num_epochs - 1)
    learning_rates = plan.trajectory.learning_rates[start:].tolist()
    if any(two > one * (1 + TOLERANCE) for one, two in itertools.pairwise(learning_rates)):
        yield _Found(
            "learning-rate-grows",
            f"The learning rate rises from {learning_rates[0]:.6g} to {max(learning_rates):.6g} after the warm-up.",
            remedies.keep_rates_from_rising(plan.settings),
        )
    rates = plan.trajectory.rates_per_sample()[start:].tolist()
    steepest = min((two / one for one, two in itertools.pairwise(rates)), default=1.0)
    if rates[-1] / rates[0] < _SMALLEST_TOTAL_DECAY or steepest < _SMALLEST_DECAY:
        yield _Found(
            "rate-vanishes",
            f"The learning rate per sample falls to {rates[-1] / rates[0]:.2g} of its first value, by a "
            f"factor of {steepest:.3g} at one boundary.",
            remedies.keep_rates_from_vanishing(plan.settings),
        )


def _lint_growth(config: TrainConfig, plan: _Plan) -> Iterator[_Found]:
    schedule = plan.schedule
    if isinstance(schedule, CoupledSchedule):
        first = config.schedule.batch_size
        wanted = [schedule.wanted_batch_size(Progress(epoch=epoch)) for epoch in range(1, config.num_epochs + 1)]
        refused = [
            epoch for epoch, (want, got) in enumerate(zip(wanted, plan.batches, strict=True), 1) if want > got + 1
        ]
        if refused and first <= plan.num_samples:
            yield _Found(
                "growth-capped",
                f"From epoch {refused[0]} on, the batch stays at {plan.batches[refused[0] - 1]:,} instead of "
                f"growing to {round(wanted[refused[0] - 1]):,}; the learning rate decays by the same factor instead.",
                "Expected with a cap; otherwise start smaller, or raise schedule.max_batch_size.",
            )
    settings = config.schedule
    never_grows = len(set(plan.batches)) == 1 and plan.batches[0] == settings.batch_size
    if isinstance(settings, StepwiseScheduleConfig) and settings.wants_growth and never_grows:
        yield _Found(
            "growth-never-happens",
            f"The batch never changes: no boundary falls before the last of {counted(config.num_epochs, 'epoch')}.",
            remedies.move_boundaries(settings),
        )
    cap = config.max_micro_batch_size
    if plan.trajectory.grows and isinstance(cap, int):
        ranks = [config.hardware.ranks_for(batch) for batch in plan.batches]
        sizes = [
            split_update(batch, some, cap).micro_batch_size for batch, some in zip(plan.batches, ranks, strict=True)
        ]
        if max(sizes) <= sizes[0] and max(ranks) <= ranks[0]:
            yield _Found(
                "growth-not-physical",
                f"The batch grows from {plan.batches[0]:,} to {max(plan.batches):,}, but the "
                f"micro-batch stays at {sizes[0]:,} (max_micro_batch_size={cap}): more accumulation, no speedup.",
                "Raise max_micro_batch_size, or set it to null or auto.",
            )


def _lint_shapes(config: TrainConfig) -> Iterator[_Found]:
    tunes = config.hardware.device == "cuda" or config.hardware.compile is not False
    if tunes and config.max_micro_batch_size != "auto":
        num_shapes = len(micro_batch_counts(config))
        if num_shapes > _MANY_SHAPES:
            yield _Found(
                "many-shapes",
                f"Its micro-batches have {num_shapes:,} sizes, and the device is tuned for each, which takes time.",
                remedies.reduce_shapes(config.schedule),
            )


def _compare(runs: list[Run], baseline_runs: list[Run], plan: _Plan, base: _Plan) -> Iterator[_Found]:
    """Yield the differences that rule out comparing an arm with the baseline; the tables use the same rules."""
    seeds, base_seeds = ([run.seed for run in arm] for arm in (runs, baseline_runs))
    if seeds != base_seeds:
        yield _Found(
            "seeds-differ", Difference("seeds", seeds, base_seeds).sentence(), "List them once, in sweep.seeds."
        )
    configs = (to_dict(arm[0].config) for arm in (runs, baseline_runs))
    for difference in differences(*configs, arms=True):
        name = difference.key
        remedy = f"Set {name} for all arms (sweep.overrides, or in the call), or sweep it in the grid."
        yield _Found(_CODE_BY_KEY.get(name, "config-differs"), difference.sentence(), remedy)
    yield from _compare_trajectories(plan, base)


def _compare_trajectories(plan: _Plan, base_plan: _Plan) -> Iterator[_Found]:
    """Yield mismatches of learning rate and batch size with the baseline's."""
    own, base = plan.trajectory, base_plan.trajectory
    schedules = plan.settings, base_plan.settings
    found = list(compare(own, base))
    for difference in found:
        is_rate = difference.key == RATE_RULE
        boundaries = boundaries_sentence(own, base) if is_rate else None
        if boundaries:
            yield _Found("boundaries-differ", boundaries, remedies.match_boundaries(*schedules))
        if is_rate:
            remedy = remedies.match_rates(*schedules)
        elif difference.key == WARMUP_KEY:
            remedy = remedies.match_warmups(*schedules)
        else:
            remedy = f"Set {difference.key} for all arms."
        yield _Found(_CODE_BY_KEY[difference.key], difference.sentence(), remedy)
    factor = constant_factor(own, base)
    if not found and factor != 1.0:
        sentence = factor_sentence(factor, own.first_batch_size, base.first_batch_size)
        yield _Found(
            "start-rate-differs",
            f"{sentence[0].upper()}{sentence[1:]}.",
            remedies.scale_start(plan.settings),
        )


def _missing_arms(planned: dict[str, _Plan]) -> Iterator[_Found]:
    """Yield the fixed arms that growing arms should also be compared with and that the sweep lacks."""
    growing = [plan for plan in planned.values() if plan.trajectory.grows]
    fixed = [plan.batches[0] for plan in planned.values() if len(set(plan.batches)) == 1]
    if not growing:
        return
    largest = max(max(plan.batches) for plan in growing)
    if largest not in fixed and not any(batch > largest for batch in fixed):
        yield _Found(
            "no-large-fixed",
            f"No arm has a fixed batch of {largest:,}, the largest batch of the growing arms.",
            "Add one: it shows what the large batch alone does.",
        )
    starts = sorted({plan.batches[0] for plan in growing} - set(fixed))
    if starts:
        yield _Found(
            "no-equal-start",
            f"No arm has a fixed batch of {', '.join(map(number_text, starts))}, the first batch of a growing arm.",
            "Add one: otherwise the speedup may come from the start rather than the growth.",
        )
