"""Which runs may be compared: pairs by seed, equal in everything but the schedule. All others are refused by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.courses import courses
from analysis.frames import DIVERGED, DONE, Data, records, tuples

#: Config keys that are the arm's own, or that cannot change a number.
_FREE_PREFIXES = ("schedule.", "tracker.", "checkpoint.")
_FREE_KEYS = ("seed", "run_dir", "dataset.root", "dataset.download", "dataset.num_workers", "hardware.profile")
#: What must be equal besides the config: where a run ran, with what, and how undisturbed.
_ORIGIN_KEYS = (
    "trainer", "adabatch_version", "git_sha", "git_dirty", "git_diff", "lint_allowed", "python", "torch",
    "torchvision", "cuda", "cudnn", "device", "device_model", "num_threads", "world_size", "num_parameters",
    "concurrent_runs", "runs_per_job",
)  # fmt: skip
#: The rule that couples learning rate and batch, as a key of its own.
TWIN_RULE = "learning_rate_per_sample"
_EXPONENT = "schedule.learning_rate_exponent"
_WARMUP = "schedule.warmup_epochs"
#: Rates that foreign logs round to four digits still agree.
_TOLERANCE = 1e-3


_Key = tuple[str, str, str]
_Difference = tuple[str, object, object]


@dataclass(frozen=True)
class Matching:
    """Pairs of runs, and what stands against the others.

    Attributes:
        pairs: one row a pair: ``group``, ``arm``, ``baseline`` (an arm), ``seed``, ``run``, ``baseline_run``,
            ``diverged`` (whether either of the two ended by a non-finite loss).
        refused: one row a difference: ``group``, ``arm``, ``baseline``, ``seed``, ``key``, ``value``,
            ``baseline_value``.
        excluded: the runs that were in refused pairs only, and are in no number.
        starts: group, arm and baseline where the baseline is fixed at the arm's first batch.
        unpaired: one row a run that has no counterpart: ``group``, ``arm``, ``baseline``, ``seed``, ``reason``.
        marks: by group, arm and baseline what a reader must know about the pairs, as sentences.
        baselines: by group the sweep's baseline arm.
    """

    pairs: pd.DataFrame
    refused: pd.DataFrame
    unpaired: pd.DataFrame
    marks: dict[_Key, list[str]] = field(default_factory=dict)
    baselines: dict[str, str] = field(default_factory=dict)
    excluded: set[str] = field(default_factory=set)
    starts: set[_Key] = field(default_factory=set)


_PAIR_COLUMNS = ["group", "arm", "baseline", "seed", "run", "baseline_run", "diverged"]
_REFUSED_COLUMNS = ["group", "arm", "baseline", "seed", "key", "value", "baseline_value"]
_UNPAIRED_COLUMNS = ["group", "arm", "baseline", "seed", "reason"]


def match(data: Data, allow: Sequence[str] = (), baseline: str | None = None) -> Matching:
    """Pair the runs of every arm with those of its baselines: the sweep's, and one fixed at the arm's first batch.

    Args:
        allow: keys that may differ between the two runs of a pair; such pairs are marked.
        baseline: an arm's name that goes before the sweep's own; needed for runs that belong to no sweep.
    """
    matcher = _Matcher(data, set(allow), baseline)
    for group, runs in data.runs.groupby("group", sort=False):
        matcher.match_group(str(group), runs)
    return Matching(
        pd.DataFrame(matcher.pairs, columns=_PAIR_COLUMNS),
        pd.DataFrame(matcher.refused, columns=_REFUSED_COLUMNS),
        pd.DataFrame(matcher.unpaired, columns=_UNPAIRED_COLUMNS),
        matcher.marks,
        matcher.baselines,
        matcher.refused_runs - {str(run) for pair in matcher.pairs for run in pair[4:6]},
        matcher.starts,
    )


class _Matcher:
    def __init__(self, data: Data, allow: set[str], baseline: str | None) -> None:
        self._allow = allow
        self._baseline = baseline
        columns = [str(name) for name in data.runs]
        config_keys = [name for name in columns if "." in name or name in _TOP_LEVEL_KEYS]
        self._config_keys = [
            name for name in config_keys if not name.startswith(_FREE_PREFIXES) and name not in _FREE_KEYS
        ]
        self._origin_keys = [name for name in _ORIGIN_KEYS if name in columns]
        self._courses = courses(data)
        self.pairs: list[list[object]] = []
        self.refused: list[list[object]] = []
        self.unpaired: list[list[object]] = []
        self.marks: dict[_Key, list[str]] = {}
        self.baselines: dict[str, str] = {}
        self.refused_runs: set[str] = set()
        self.starts: set[_Key] = set()
        self._known: dict[tuple[str, str], list[_Difference]] = {}

    def match_group(self, group: str, runs: pd.DataFrame) -> None:
        """Pair the arms of one group with its baseline, and growing ones with the arm fixed at their start."""
        arms = {str(arm): table for arm, table in runs.groupby("arm", sort=False)}
        main = self._main_baseline(arms)
        if main not in arms:
            reason = f"the baseline {main} is not among the runs" if main else "no arm has a fixed batch"
            self.unpaired += [[group, row.arm, main or "", row.seed, reason] for row in tuples(runs)]
            return
        self.baselines[group] = main
        for arm, table in arms.items():
            starts = self._fixed_at_start(arm, arms)
            self.starts |= {(group, arm, start) for start in starts}
            for baseline in dict.fromkeys([main, *starts]):
                if arm != baseline:
                    self._match_arms((group, arm, baseline), _runs(table), _runs(arms[baseline]))

    def _main_baseline(self, arms: dict[str, pd.DataFrame]) -> str | None:
        """Return the arm asked for or declared, be it there or not; else that of the smallest fixed batch."""
        declared = next(iter(next(iter(arms.values())).baseline.dropna()), None)
        if self._baseline or declared:
            return self._baseline or declared
        fixed = {arm: self._batches(table) for arm, table in arms.items()}
        starts = {arm: batches[0] for arm, batches in fixed.items() if len(batches) and len(set(batches)) == 1}
        return min(starts, key=lambda arm: starts[arm], default=None)

    def _fixed_at_start(self, arm: str, arms: dict[str, pd.DataFrame]) -> list[str]:
        """Return the fixed arms whose batch is the first of a growing arm."""
        own = self._batches(arms[arm])
        if len(set(own)) < 2:
            return []
        others = {name: self._batches(table) for name, table in arms.items()}
        return [name for name, batches in others.items() if set(batches) == {own[0]}]

    def _batches(self, table: pd.DataFrame) -> list[int]:
        """Return the batch sizes by epoch of the arm's run with the most epochs."""
        found = [self._courses[run] for run in table.index if run in self._courses]
        return [int(batch) for batch in max(found, key=len)[:, 0]] if found else []

    def _match_arms(self, key: _Key, own: dict[object, list[_Run]], base: dict[object, list[_Run]]) -> None:
        """Pair runs seed by seed; of several with one seed those that are equal first."""
        first: tuple[_Run, _Run] | None = None
        for seed in dict.fromkeys([*own, *base]):
            for run, other in self._couples(own.get(seed, []), base.get(seed, [])):
                if run is None or other is None:
                    lacking, left = (key[1], base) if run is None else (key[2], own)
                    used = len(left.get(seed, [])) > 1
                    reason = f"{lacking} has no {'further ' if used else ''}run of this seed"
                    self.unpaired.append([*key, seed, reason])
                elif self._match_runs(key, seed, run, other, first) and first is None:
                    first = run, other

    def _couples(self, own: list[_Run], base: list[_Run]) -> Iterator[tuple[_Run | None, _Run | None]]:
        """Yield the runs of one seed in twos: usable and equal ones first, the rest as they began."""
        left = list(base)
        rest = []
        for run in own:
            equal = (one for one in left if not run.why_unusable and not one.why_unusable)
            other = next((one for one in equal if not self._refusals(run, one)), None)
            if other is None:
                rest.append(run)
            else:
                left.remove(other)
                yield run, other
        yield from itertools.zip_longest(rest, left)

    def _refusals(self, run: _Run, base: _Run) -> list[_Difference]:
        return [entry for entry in self._differences(run, base) if entry[0] not in self._allow]

    def _match_runs(self, key: _Key, seed: object, run: _Run, base: _Run, first: tuple[_Run, _Run] | None) -> bool:
        """Accept a pair, refuse it or leave it out; return whether it was accepted.

        Args:
            first: the first pair of these arms, whose config all others must have, too.
        """
        reason = run.why_unusable or (base.why_unusable and f"the run of {key[2]} is {base.why_unusable}")
        if reason:
            self.unpaired.append([*key, seed, reason])
            return False
        within = self._refusals(run, base)
        across: list[_Difference] = []
        if first is not None:
            across = [entry for entry in _unequal(self._config_keys, run, first[0]) if entry[0] not in self._allow]
            for name, value, other in _unequal(self._origin_keys, run, first[0]):
                self._mark(key, f"{name} is not the same in all pairs ({value}, {other})")
        if within or across:
            self.refused += [[*key, seed, *entry] for entry in within or across]
            self.refused_runs |= {run.name} if within else {run.name, base.name}
            return False
        for name, value, baseline_value in self._differences(run, base):
            self._mark(key, f"{name} differs ({value} against {baseline_value}), let through by --allow {name}")
        self.pairs.append([*key, seed, run.name, base.name, not (run.is_done and base.is_done)])
        for sentence in self._remarks(run, base):
            self._mark(key, sentence)
        return True

    def _mark(self, key: tuple[str, str, str], sentence: str) -> None:
        known = self.marks.setdefault(key, [])
        if sentence not in known:
            known.append(sentence)

    def _differences(self, run: _Run, base: _Run) -> list[_Difference]:
        """Return key, value and the baseline's value of everything that must be equal and is not."""
        key = (run.name, base.name)
        if key not in self._known:
            self._known[key] = list(self._find_differences(run, base))
        return self._known[key]

    def _find_differences(self, run: _Run, base: _Run) -> Iterator[_Difference]:
        yield from _unequal((*self._config_keys, *self._origin_keys, _WARMUP), run, base)
        both_vary = self._varies(run) and self._varies(base)
        if both_vary:  # the exponent of a batch that stays as it is never acts
            yield from _unequal((_EXPONENT,), run, base)
        own, other = self._rates_per_sample(run, base)
        if np.isnan(own).any() or np.isnan(other).any():
            value, baseline_value = ("unknown" if np.isnan(rates).any() else "known" for rates in (own, other))
            yield TWIN_RULE, value, baseline_value
            return
        if len(own) == 0:
            return
        factors = own / other
        expected = 1.0 if self._first_batch(run) == self._first_batch(base) else factors[0]
        wrong = np.flatnonzero(np.abs(factors / expected - 1) > _TOLERANCE)
        if len(wrong):
            place = wrong[0]
            epoch = int(max(run.number(_WARMUP, 0), base.number(_WARMUP, 0))) + int(place) + 1
            yield TWIN_RULE, f"{own[place]:.6g} in epoch {epoch}", f"{other[place]:.6g} in epoch {epoch}"

    def _varies(self, run: _Run) -> bool:
        course = self._courses.get(run.name)
        return course is not None and len(set(course[:, 0])) > 1

    def _remarks(self, run: _Run, base: _Run) -> Iterator[str]:
        """Yield what a reader must know of a pair that is let through."""
        own, other = self._rates_per_sample(run, base)
        if len(own) and abs(own[0] / other[0] - 1) > _TOLERANCE:
            yield f"its learning rate per sample is {own[0] / other[0]:.4g} times the baseline's throughout"
        if run.values.get("git_dirty") is True:
            yield "the code had changes that were not committed"
        if run.values.get("lint_allowed"):
            yield f"submitted in spite of lint's {run.values['lint_allowed']}"
        for name, word in (("runs_per_job", "runs shared a job"), ("concurrent_runs", "runs went side by side")):
            count = run.values.get(name)
            if isinstance(count, str) or run.number(name, 1) > 1:
                yield f"{_shown(count)} {word}: seconds are those of a shared machine"
        if run.values["source"] == "foreign":
            yield "logs of another trainer: its settings are as declared, not verified"

    def _first_batch(self, run: _Run) -> float:
        return float(self._courses[run.name][0, 0])

    def _rates_per_sample(self, run: _Run, base: _Run) -> tuple[np.ndarray, np.ndarray]:
        """Return learning rate / batch size ** exponent of both by epoch after both warm-ups.

        The exponent is that of the run whose batch varies. Rates that were not logged are NaN; both empty where neither
        run has any.
        """
        found = [self._courses.get(one.name) for one in (run, base)]
        first = int(max(run.number(_WARMUP, 0), base.number(_WARMUP, 0)))
        last = min(0 if course is None else len(course) for course in found)
        exponent = (base if self._varies(base) and not self._varies(run) else run).number(_EXPONENT, 1.0)
        own, other = (
            np.empty(0) if course is None else course[first:last, 1] / course[first:last, 0] ** exponent
            for course in found
        )
        return (own[:0], other[:0]) if np.isnan(own).all() and np.isnan(other).all() else (own, other)


@dataclass(frozen=True)
class _Run:
    """One row of ``runs``."""

    name: str
    values: dict[str, Any]

    @property
    def is_done(self) -> bool:
        return bool(self.values["state"] == DONE)

    @property
    def why_unusable(self) -> str | None:
        """Why it cannot be in a pair; a diverged run can, for it tells something about its arm."""
        state, cause = self.values["state"], self.values["cause"]
        if self.is_done or is_diverged(state, cause):
            return None
        return str(state) if not isinstance(cause, str) else f"{state} ({cause})"

    def number(self, key: str, otherwise: float) -> float:
        value = self.values.get(key)
        return float(value) if isinstance(value, int | float) and value == value else otherwise


_TOP_LEVEL_KEYS = ("num_epochs", "max_micro_batch_size", "batch_norm", "ghost_batch_size")


def _runs(table: pd.DataFrame) -> dict[object, list[_Run]]:
    """Return runs by seed, each seed's in the order in which they began."""
    table = table.sort_values(["seed", "started_at"], kind="stable")
    by_seed: dict[object, list[_Run]] = {}
    for name, values in zip(table.index, records(table), strict=True):
        by_seed.setdefault(values["seed"], []).append(_Run(str(name), values))
    return by_seed


def _unequal(keys: Sequence[str], run: _Run, other: _Run) -> Iterator[_Difference]:
    for name in keys:
        value, other_value = run.values.get(name), other.values.get(name)
        if not _same(value, other_value):
            yield name, _shown(value), _shown(other_value)


def is_diverged(state: object, cause: object) -> bool:
    """Return whether a run ended by a non-finite loss."""
    return state == "failed" and str(cause).startswith(DIVERGED)


def _same(one: object, two: object) -> bool:
    missing = [value is None or value is pd.NA or value != value for value in (one, two)]
    return all(missing) if any(missing) else bool(one == two)


def _shown(value: object) -> object:
    if value is None or value is pd.NA or value != value:
        return "null"
    return int(value) if isinstance(value, float) and value.is_integer() else value
