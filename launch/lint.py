"""Finds what would make a sweep's arms incomparable, before anything runs."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adabatch.batching import split_update
from adabatch.checks import require
from adabatch.config import StepwiseScheduleConfig, TrainConfig, to_dict
from adabatch.measure.forecast import micro_batch_counts
from adabatch.progress import Progress
from adabatch.schedules import Schedule, build_schedule
from adabatch.schedules.coupled import CoupledSchedule
from launch.expand import Expansion, Run

ERROR, NOTE = "error", "note"
#: Every code: what level it has, and what it means.
CODES = {
    "rate-differs": (ERROR, "the learning rate per sample departs from the baseline's"),
    "boundaries-differ": (ERROR, "the rate changes at other epochs than the baseline's"),
    "epochs-differ": (ERROR, "another number of epochs than the baseline's"),
    "seeds-differ": (ERROR, "other seeds than the baseline's"),
    "micro-batch-differs": (ERROR, "another micro-batch cap than the baseline's: BatchNorm sees other statistics"),
    "precision-differs": (ERROR, "another precision than the baseline's"),
    "partial-batch-differs": (ERROR, "another rule for an epoch's last, partial batch than the baseline's"),
    "warmup-differs": (ERROR, "the warm-up ends at another epoch than the baseline's"),
    "config-differs": (ERROR, "a key besides the schedule differs from the baseline's"),
    "no-baseline": (ERROR, "a cell has no run of the baseline"),
    "learning-rate-grows": (ERROR, "the learning rate rises after the warm-up"),
    "rate-vanishes": (ERROR, "the rate falls so fast that training stops: a typo in the decay"),
    "batch-exceeds-data": (ERROR, "the first batch is larger than the training set"),
    "ranks-do-not-divide": (ERROR, "a batch does not divide evenly over the ranks"),
    "start-rate-differs": (NOTE, "another batch size starts with another rate per sample than the baseline's"),
    "growth-never-happens": (NOTE, "no boundary lies within the training, so that the batch never grows"),
    "growth-capped": (NOTE, "a cap refuses growth, which turns into decay"),
    "growth-not-physical": (NOTE, "growth never reaches the micro-batch, so that nothing can get faster"),
    "many-shapes": (NOTE, "a ramp has so many micro-batch sizes that tuning for each of them takes over"),
    "no-large-fixed": (NOTE, "no fixed arm has the adaptive arm's largest batch"),
    "no-equal-start": (NOTE, "no fixed arm has the adaptive arm's first batch"),
    "one-seed": (NOTE, "one seed shows no spread"),
}
_TOLERANCE = 1e-6
_SMALLEST_TOTAL_DECAY = 1e-6
_SMALLEST_DECAY = 0.05
_MANY_SHAPES = 64
#: Keys that have a code of their own, or that may differ.
_COMPARED_ELSEWHERE = (
    "seed", "run_dir", "num_epochs", "max_micro_batch_size", "schedule", "tracker", "checkpoint",
    "optimizer.learning_rate", "hardware.precision", "dataset.partial_batch",
)  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """One thing to look at.

    Attributes:
        arm: the arm's folder name; None if the whole sweep is meant.
        cells: where it was found.
        sentence: what was found, with numbers.
        remedy: what to do about it.
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


class _Course:
    """Batch size and learning rate at the start of each epoch."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.num_samples = config.dataset.num_train_samples
        self.schedule: Schedule = build_schedule(
            config.schedule, config.optimizer.learning_rate, self.num_samples, config.num_epochs
        )
        decisions = [self.schedule.decide(Progress(epoch=epoch)) for epoch in range(1, config.num_epochs + 1)]
        self.batches = [decision.batch_size for decision in decisions]
        self.learning_rates = [decision.learning_rate for decision in decisions]
        self.warmup_epochs = config.schedule.warmup_epochs

    @property
    def grows(self) -> bool:
        return max(self.batches) > self.batches[0]

    def rates(self, exponent: float) -> list[float]:
        """Return learning rate / batch size ** exponent by epoch."""
        return [rate / batch**exponent for rate, batch in zip(self.learning_rates, self.batches, strict=True)]

    def boundaries(self, exponent: float) -> list[int]:
        """Return the epochs, after the warm-up, behind which the rate changes."""
        pairs = enumerate(itertools.pairwise(self.rates(exponent)), start=1)
        return [epoch for epoch, (one, two) in pairs if epoch > self.warmup_epochs and not _equal(one, two)]


def _equal(one: float, two: float) -> bool:
    return abs(one - two) <= _TOLERANCE * max(abs(one), abs(two))


def check_codes(codes: Sequence[str]) -> list[str]:
    """Return the codes of ``--allow``, sorted.

    Raises:
        ConfigError: for an unknown code.
    """
    for code in codes:
        require(code in CODES, "--allow", code, "one of " + ", ".join(CODES))
    return sorted(set(codes))


def lint(expansion: Expansion) -> list[Finding]:
    """Return the findings, errors first; one that holds in several cells is listed once."""
    cells: dict[str, dict[str, list[Run]]] = {}
    for run in expansion.runs:
        point = f"{run.cell} {json.dumps(run.swept, sort_keys=True, default=str)}"
        cells.setdefault(point, {}).setdefault(run.arm, []).append(run)
    merged: dict[tuple[str, str | None, str, str], list[str]] = {}
    courses: dict[str, _Course] = {}
    for arms in cells.values():
        for arm, found in _lint_cell(arms, courses):
            cell = next(iter(arms.values()))[0].cell
            listed = merged.setdefault((found.code, arm, found.sentence, found.remedy), [])
            if cell not in listed:
                listed.append(cell)
    if len(expansion.sweep.seeds) == 1:
        found = _Found(
            "one-seed",
            f"Every arm has one seed ({expansion.sweep.seeds[0]}): the spread between runs stays unknown.",
            "List at least three in sweep.seeds.",
        )
        merged[found.code, None, found.sentence, found.remedy] = []
    findings = [Finding(code, arm, tuple(where), text, remedy) for (code, arm, text, remedy), where in merged.items()]
    order = list(CODES)
    return sorted(findings, key=lambda finding: (finding.level != ERROR, order.index(finding.code)))


def _course(config: TrainConfig, courses: dict[str, _Course]) -> _Course:
    key = repr((config.schedule, config.optimizer.learning_rate, config.dataset.num_train_samples, config.num_epochs))
    if key not in courses:
        courses[key] = _Course(config)
    return courses[key]


def _lint_cell(arms: dict[str, list[Run]], courses: dict[str, _Course]) -> Iterator[tuple[str | None, _Found]]:
    """Yield the findings of the arms of one cell, that is, of runs that will be compared."""
    baseline = next(iter(arms.values()))[0].baseline
    tracks = {arm: _course(runs[0].config, courses) for arm, runs in arms.items()}
    for arm, runs in arms.items():
        for found in _lint_arm(runs[0].config, tracks[arm]):
            yield arm, found
        if baseline not in arms:
            sentence = f"{runs[0].cell} has no run of the baseline {baseline}."
            yield arm, _Found("no-baseline", sentence, "Give the arms the same network and data set.")
        elif arm != baseline:
            for found in _compare(runs, arms[baseline], tracks[arm], tracks[baseline]):
                yield arm, found
    for found in _missing_arms(tracks):
        yield None, found


def _lint_arm(config: TrainConfig, course: _Course) -> Iterator[_Found]:
    yield from _lint_rates(config, course)
    first, samples = config.schedule.batch_size, course.num_samples
    if first > samples:
        yield _Found(
            "batch-exceeds-data",
            f"schedule.batch_size is {first}, but the training set has {samples} samples.",
            f"Set schedule.batch_size to at most {samples}.",
        )
    world_size = config.hardware.world_size
    uneven = sorted({batch for batch in course.batches if batch % world_size})
    if uneven and course.schedule.constant_within_epoch:
        yield _Found(
            "ranks-do-not-divide",
            f"Batches of {', '.join(map(str, uneven))} do not divide evenly over {world_size} ranks.",
            f"Choose batch sizes and growth so that every batch is a multiple of {world_size}.",
        )
    yield from _lint_growth(config, course)
    yield from _lint_shapes(config)


def _lint_rates(config: TrainConfig, course: _Course) -> Iterator[_Found]:
    """Yield findings on how the learning rate moves after the warm-up."""
    start = min(course.warmup_epochs, config.num_epochs - 1)
    learning_rates = course.learning_rates[start:]
    if any(two > one * (1 + _TOLERANCE) for one, two in itertools.pairwise(learning_rates)):
        yield _Found(
            "learning-rate-grows",
            f"The learning rate rises from {learning_rates[0]:.6g} to {max(learning_rates):.6g} after the warm-up.",
            "Set schedule.learning_rate_decay to at most 1.",
        )
    rates = course.rates(config.schedule.learning_rate_exponent)[start:]
    steepest = min((two / one for one, two in itertools.pairwise(rates)), default=1.0)
    if rates[-1] / rates[0] < _SMALLEST_TOTAL_DECAY or steepest < _SMALLEST_DECAY:
        yield _Found(
            "rate-vanishes",
            f"The rate per sample falls to {rates[-1] / rates[0]:.2g} of its start, to {steepest:.3g} at one boundary.",
            "Look for a typo in schedule.learning_rate_decay, such as 0.0375 for 0.375.",
        )


def _lint_growth(config: TrainConfig, course: _Course) -> Iterator[_Found]:
    schedule = course.schedule
    if isinstance(schedule, CoupledSchedule):
        first = config.schedule.batch_size
        wanted = [first * schedule.growth(Progress(epoch=epoch)) for epoch in range(1, config.num_epochs + 1)]
        refused = [
            epoch for epoch, (want, got) in enumerate(zip(wanted, course.batches, strict=True), 1) if want > got + 1
        ]
        if refused and first <= course.num_samples:
            yield _Found(
                "growth-capped",
                f"From epoch {refused[0]} on the batch stays at {course.batches[refused[0] - 1]} instead of growing to "
                f"{wanted[refused[0] - 1]:.0f}; the learning rate decays by the same factor instead.",
                "Intended for a cap; else start smaller, or raise schedule.max_batch_size.",
            )
    settings = config.schedule
    wants_growth = isinstance(settings, StepwiseScheduleConfig) and settings.batch_growth != 1
    if wants_growth and len(set(course.batches)) == 1 and course.batches[0] == settings.batch_size:
        yield _Found(
            "growth-never-happens",
            f"The batch never changes: no boundary lies before the last of {config.num_epochs} epochs.",
            "Lower schedule.every_epochs or schedule.milestones, or train for longer.",
        )
    cap = config.max_micro_batch_size
    if course.grows and isinstance(cap, int):
        sizes = [split_update(batch, config.hardware.world_size, cap).micro_batch_size for batch in course.batches]
        if max(sizes) <= sizes[0]:
            yield _Found(
                "growth-not-physical",
                f"The batch grows from {course.batches[0]} to {max(course.batches)}, but the micro-batch stays at "
                f"{sizes[0]} (max_micro_batch_size={cap}): more accumulation, no speedup.",
                "Raise max_micro_batch_size, or set it to null or auto.",
            )


def _lint_shapes(config: TrainConfig) -> Iterator[_Found]:
    tunes = config.hardware.device == "cuda" or config.hardware.compile is not False
    if tunes and config.max_micro_batch_size != "auto":
        num_shapes = len(micro_batch_counts(config))
        if num_shapes > _MANY_SHAPES:
            yield _Found(
                "many-shapes",
                f"Its micro-batches have {num_shapes} sizes, and the device is tuned for each: growth that costs time.",
                "Set schedule.batch_size_multiple, such as to 64, or cap the micro-batch.",
            )


def _compare(runs: list[Run], baseline_runs: list[Run], course: _Course, base: _Course) -> Iterator[_Found]:
    """Yield what keeps an arm from being compared with the baseline."""
    config, other = runs[0].config, baseline_runs[0].config
    pairs = [
        ("epochs-differ", "num_epochs", config.num_epochs, other.num_epochs),
        ("seeds-differ", "seeds", [run.seed for run in runs], [run.seed for run in baseline_runs]),
        ("micro-batch-differs", "max_micro_batch_size", config.max_micro_batch_size, other.max_micro_batch_size),
        ("precision-differs", "hardware.precision", config.hardware.precision, other.hardware.precision),
        ("partial-batch-differs", "dataset.partial_batch", config.dataset.partial_batch, other.dataset.partial_batch),
        ("warmup-differs", "schedule.warmup_epochs", config.schedule.warmup_epochs, other.schedule.warmup_epochs),
    ]
    different = {key: (mine, theirs) for key, mine, theirs in _config_differences(to_dict(config), to_dict(other))}
    pairs += [("config-differs", key, mine, theirs) for key, (mine, theirs) in different.items()]
    for code, key, mine, theirs in pairs:
        if mine != theirs:
            shown = ["null" if value is None else value for value in (mine, theirs)]
            yield _Found(
                code,
                f"{key} is {shown[0]}, the baseline's is {shown[1]}.",
                f"Set {key} for all arms (sweep.overrides, or in the call), or sweep it in the grid.",
            )
    yield from _compare_rates(course, base)


def _config_differences(
    mine: dict[str, Any], theirs: dict[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key in mine:
        name = prefix + key
        if name in _COMPARED_ELSEWHERE or mine[key] == theirs[key]:
            continue
        if isinstance(mine[key], dict):
            yield from _config_differences(mine[key], theirs[key], f"{name}.")
        else:
            yield name, mine[key], theirs[key]


def _compare_rates(course: _Course, base: _Course) -> Iterator[_Found]:
    """Yield whether the rate per sample follows the baseline's, epoch by epoch after both warm-ups."""
    own_exponent = course.grows or not base.grows
    exponent = (course if own_exponent else base).config.schedule.learning_rate_exponent
    mine, theirs = course.boundaries(exponent), base.boundaries(exponent)
    shared = min(course.config.num_epochs, base.config.num_epochs)
    if [epoch for epoch in mine if epoch < shared] != [epoch for epoch in theirs if epoch < shared]:
        yield _Found(
            "boundaries-differ",
            f"The rate changes after epochs {_epochs(mine)}; the baseline's after {_epochs(theirs)}.",
            "Give both the same schedule.every_epochs or schedule.milestones.",
        )
    start = max(course.warmup_epochs, base.warmup_epochs)
    pairs = list(zip(course.rates(exponent), base.rates(exponent), strict=False))[start:shared]
    if not pairs:
        return
    factors = [own / other for own, other in pairs]
    same_start = course.batches[0] == base.batches[0]
    if all(_equal(factor, factors[0]) for factor in factors) and not (same_start and not _equal(factors[0], 1.0)):
        if not _equal(factors[0], 1.0):
            yield _Found(
                "start-rate-differs",
                f"With batches of {course.batches[0]} against {base.batches[0]} the rate per sample is "
                f"{factors[0]:.4g} times the baseline's throughout.",
                "Intended for an unscaled learning rate; else scale optimizer.learning_rate, or use a warm-up.",
            )
        return
    expected = 1.0 if same_start else factors[0]
    worst = next(index for index, factor in enumerate(factors) if not _equal(factor, expected))
    own, other = pairs[worst]
    yield _Found(
        "rate-differs",
        f"In epoch {start + worst + 1} the rate per sample is {own:.4g}, the baseline's {other:.4g}.",
        "Compare with the arm's twin (twin(ARM)), or set schedule.learning_rate_decay = decay x growth**exponent.",
    )


def _epochs(epochs: list[int]) -> str:
    if not epochs:
        return "none"
    return ", ".join(map(str, epochs)) if len(epochs) <= 6 else f"{epochs[0]}, {epochs[1]}, ... {epochs[-1]}"


def _missing_arms(tracks: dict[str, _Course]) -> Iterator[_Found]:
    """Yield the baselines that growing arms should also be compared with, and that the sweep lacks."""
    growing = [course for course in tracks.values() if course.grows]
    fixed = [course.batches[0] for course in tracks.values() if len(set(course.batches)) == 1]
    if not growing:
        return
    largest = max(max(course.batches) for course in growing)
    if largest not in fixed and not any(batch > largest for batch in fixed):
        yield _Found(
            "no-large-fixed",
            f"No arm has a fixed batch of {largest}, the largest of the growing ones.",
            "Add one: it shows what the large batch alone would do.",
        )
    starts = sorted({course.batches[0] for course in growing} - set(fixed))
    if starts:
        yield _Found(
            "no-equal-start",
            f"No arm has a fixed batch of {', '.join(map(str, starts))}, at which a growing one starts.",
            "Add one: else the speedup may come from the start and not from the growth.",
        )
