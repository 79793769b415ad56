"""Which runs may be compared: pairs by seed, equal in everything but the schedule. All others are refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.frames import DIVERGED, DONE, Data, records

#: Config keys that are the arm's own, or that cannot change a number.
_FREE_PREFIXES = ("schedule.", "tracker.", "checkpoint.")
_FREE_KEYS = ("seed", "run_dir", "dataset.root", "dataset.download", "dataset.num_workers", "hardware.profile")
#: What must be equal besides the config: where a run ran, with what, and how undisturbed.
_ORIGIN_KEYS = (
    "source", "trainer", "adabatch_version", "git_sha", "git_dirty", "git_diff", "lint_allowed", "python", "torch",
    "torchvision", "device", "device_model", "num_threads", "world_size", "num_parameters", "concurrent_runs",
    "runs_per_job",
)  # fmt: skip
#: The rule that couples learning rate and batch, as a key of its own.
TWIN_RULE = "learning_rate_per_sample"
_EXPONENT = "schedule.learning_rate_exponent"
_WARMUP = "schedule.warmup_epochs"
#: Rates that foreign logs round to four digits still agree.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Matching:
    """Pairs of runs, and what stands against the others.

    Attributes:
        pairs: one row a pair: ``group``, ``arm``, ``baseline`` (an arm), ``seed``, ``run``, ``baseline_run``,
            ``diverged`` (whether either of the two ended by a non-finite loss).
        refused: one row a difference: ``group``, ``arm``, ``baseline``, ``seed``, ``key``, ``value``,
            ``baseline_value``.
        unpaired: one row a run that has no counterpart: ``group``, ``arm``, ``baseline``, ``seed``, ``reason``.
        marks: by group, arm and baseline what a reader must know about the pairs, as sentences.
        baselines: by group the sweep's baseline arm.
    """

    pairs: pd.DataFrame
    refused: pd.DataFrame
    unpaired: pd.DataFrame
    marks: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    baselines: dict[str, str] = field(default_factory=dict)


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
    )


class _Matcher:
    def __init__(self, data: Data, allow: set[str], baseline: str | None) -> None:
        self._allow = allow
        self._baseline = baseline
        columns = [str(name) for name in data.runs]
        config_keys = [name for name in columns if "." in name or name in _TOP_LEVEL_KEYS]
        equal = [name for name in config_keys if not name.startswith(_FREE_PREFIXES) and name not in _FREE_KEYS]
        self._keys = [*equal, *(name for name in _ORIGIN_KEYS if name in columns)]
        self._courses = _courses(data)
        self.pairs: list[list[object]] = []
        self.refused: list[list[object]] = []
        self.unpaired: list[list[object]] = []
        self.marks: dict[tuple[str, str, str], list[str]] = {}
        self.baselines: dict[str, str] = {}

    def match_group(self, group: str, runs: pd.DataFrame) -> None:
        """Pair the arms of one group with its baseline, and growing ones with the arm fixed at their start."""
        arms = {str(arm): table for arm, table in runs.groupby("arm", sort=False)}
        main = self._main_baseline(arms)
        if main is None:
            return
        self.baselines[group] = main
        for arm, table in arms.items():
            for baseline in dict.fromkeys([main, *self._fixed_at_start(arm, arms)]):
                if arm != baseline:
                    self._match_arms(group, arm, table, baseline, arms[baseline])

    def _main_baseline(self, arms: dict[str, pd.DataFrame]) -> str | None:
        """Return the arm asked for, the sweep's, or else that of the smallest fixed batch."""
        declared = next(iter(next(iter(arms.values())).baseline.dropna()), None)
        for name in (self._baseline, declared):
            if name in arms:
                return name
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
        courses = [self._courses[run] for run in table.index if run in self._courses]
        return [int(batch) for batch in max(courses, key=len)[:, 0]] if courses else []

    def _match_arms(
        self, group: str, arm: str, table: pd.DataFrame, baseline: str, baseline_table: pd.DataFrame
    ) -> None:
        key = (group, arm, baseline)
        own, base = _places(table), _places(baseline_table)
        for place in dict.fromkeys([*own, *base]):
            if place not in base:
                self.unpaired.append([*key, place[0], f"{baseline} has no run of this seed"])
            elif place not in own:
                self.unpaired.append([*key, place[0], f"{arm} has no run of this seed"])
            else:
                self._match_runs(key, place[0], own[place], base[place])

    def _match_runs(self, key: tuple[str, str, str], seed: object, run: _Run, base: _Run) -> None:
        reason = run.why_unusable or (base.why_unusable and f"the run of {key[2]} is {base.why_unusable}")
        if reason:
            self.unpaired.append([*key, seed, reason])
            return
        differences = list(self._differences(run, base))
        refused = [entry for entry in differences if entry[0] not in self._allow]
        self.refused += [[*key, seed, *entry] for entry in refused]
        for name, value, baseline_value in differences:
            if name in self._allow:
                self._mark(key, f"{name} differs ({value} against {baseline_value}), let through by --allow {name}")
        if not refused:
            self.pairs.append([*key, seed, run.name, base.name, not (run.is_done and base.is_done)])
            for sentence in self._remarks(run, base):
                self._mark(key, sentence)

    def _mark(self, key: tuple[str, str, str], sentence: str) -> None:
        known = self.marks.setdefault(key, [])
        if sentence not in known:
            known.append(sentence)

    def _differences(self, run: _Run, base: _Run) -> Iterator[tuple[str, object, object]]:
        """Yield key, value and the baseline's value of everything that must be equal and is not."""
        for name in (*self._keys, _EXPONENT, _WARMUP):
            value, baseline_value = run.values.get(name), base.values.get(name)
            if not _same(value, baseline_value):
                yield name, _shown(value), _shown(baseline_value)
        own, other = self._rates_per_sample(run, base)
        if len(own) == 0:
            return
        factors = own / other
        expected = 1.0 if self._first_batch(run) == self._first_batch(base) else factors[0]
        wrong = np.flatnonzero(np.abs(factors / expected - 1) > _TOLERANCE)
        if len(wrong):
            place = wrong[0]
            epoch = int(max(run.number(_WARMUP, 0), base.number(_WARMUP, 0))) + int(place) + 1
            yield TWIN_RULE, f"{own[place]:.6g} in epoch {epoch}", f"{other[place]:.6g} in epoch {epoch}"

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
            count = run.number(name, 1)
            if count > 1:
                yield f"{count:g} {word}: seconds are those of a shared machine"
        if run.values["source"] == "foreign":
            yield "logs of another trainer: its settings are as declared, not verified"

    def _first_batch(self, run: _Run) -> float:
        return float(self._courses[run.name][0, 0])

    def _rates_per_sample(self, run: _Run, base: _Run) -> tuple[np.ndarray, np.ndarray]:
        """Return learning rate / batch size ** exponent of both by epoch after both warm-ups; empty if unknown."""
        courses = [self._courses.get(one.name) for one in (run, base)]
        first = int(max(run.number(_WARMUP, 0), base.number(_WARMUP, 0)))
        last = min(0 if course is None else len(course) for course in courses)
        exponent = run.number(_EXPONENT, 1.0)
        own, other = (
            np.empty(0) if course is None else course[first:last, 1] / course[first:last, 0] ** exponent
            for course in courses
        )
        return (own, other) if np.isfinite(own).all() and np.isfinite(other).all() else (own[:0], other[:0])


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


def _courses(data: Data) -> dict[str, np.ndarray]:
    """Return by run an array of batch size and learning rate, one row an epoch from the first on."""
    epochs = data.epochs.sort_values(["run", "epoch"], kind="stable")
    values = epochs[["batch_size", "learning_rate"]].to_numpy(dtype=float)
    starts = np.flatnonzero(~epochs.run.duplicated().to_numpy())
    return dict(zip(epochs.run.iloc[starts].astype(str), np.split(values, starts[1:]), strict=True))


def _places(table: pd.DataFrame) -> dict[tuple[Any, int], _Run]:
    """Return runs by seed and, of several with one seed, by the order in which they began."""
    table = table.sort_values(["seed", "started_at"], kind="stable")
    counts = table.groupby("seed", dropna=False).cumcount()
    runs = [_Run(str(name), values) for name, values in zip(table.index, records(table), strict=True)]
    return {(run.values["seed"], int(count)): run for run, count in zip(runs, counts, strict=True)}


def growing_arms(data: Data) -> set[tuple[str, str]]:
    """Return group and arm of all arms whose batch was larger at the end of a run than at its start."""
    epochs = data.epochs.sort_values("epoch", kind="stable").groupby("run", observed=True).batch_size
    grown = epochs.last() > epochs.first()
    runs = data.runs.loc[grown.index[grown].astype(object)]
    return set(zip(runs.group, runs.arm, strict=True))


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
