"""Which runs may be compared: pairs by seed, equal in everything but the schedule. All others are refused by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from adabatch.config.keys import changes, is_key, judged_by_equality
from adabatch.fields import Changes, Difference, shown
from adabatch.rundir.meta import FACT_CHANGES
from adabatch.schedules.trajectory import Trajectory, compare, constant_factor, factor_sentence
from analysis.frames import Data, is_diverged, is_final, records, tuples
from analysis.trajectories import trajectories

_Key = tuple[str, str, str]


@dataclass(frozen=True)
class Matching:
    """Pairs of runs, and what stands against the others.

    Attributes:
        pairs: one row a pair: ``group``, ``arm``, ``baseline`` (an arm), ``seed``, ``run``, ``baseline_run``,
            ``diverged`` (whether either of the two ended by a non-finite loss), ``is_timed`` (whether their seconds
            may be compared too).
        refused: one row a difference: ``group``, ``arm``, ``baseline``, ``seed``, ``key``, ``value``,
            ``baseline_value``, ``refuses`` (``all``, or ``speed`` where it may change nothing but the time).
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


_PAIR_COLUMNS = ["group", "arm", "baseline", "seed", "run", "baseline_run", "diverged", "is_timed"]
_REFUSED_COLUMNS = ["group", "arm", "baseline", "seed", "key", "value", "baseline_value", "refuses"]
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
        self._config_keys = judged_by_equality(name for name in columns if is_key(name))
        self._origin_keys = [name for name in FACT_CHANGES if name in columns]
        self._trajectories = trajectories(data)
        self.pairs: list[list[object]] = []
        self.refused: list[list[object]] = []
        self.unpaired: list[list[object]] = []
        self.marks: dict[_Key, list[str]] = {}
        self.baselines: dict[str, str] = {}
        self.refused_runs: set[str] = set()
        self.starts: set[_Key] = set()
        self._known: dict[tuple[str, str], list[Difference]] = {}

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
        found = [self._trajectories[run] for run in table.index if run in self._trajectories]
        if not found:
            return []
        return [int(batch) for batch in max(found, key=lambda one: one.num_epochs).batch_sizes]

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

    def _refusals(self, run: _Run, base: _Run) -> list[Difference]:
        """Return what keeps even the qualities of two runs from being compared."""
        return [entry for entry in self._differences(run, base) if not self._is_passed(entry)]

    def _is_passed(self, difference: Difference) -> bool:
        return difference.key in self._allow or difference.changes is Changes.TIME

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
        across: list[Difference] = []
        if first is not None:
            across = [entry for entry in _unequal(self._config_keys, run, first[0]) if not self._is_passed(entry)]
            for entry in _unequal(self._origin_keys, run, first[0]):
                self._mark(key, f"{entry.key} is not the same in all pairs ({entry.value}, {entry.other})")
        if within or across:
            self.refused += [_refused_row(key, seed, entry, "all") for entry in within or across]
            self.refused_runs |= {run.name} if within else {run.name, base.name}
            return False
        is_timed = True
        for entry in self._differences(run, base):
            if entry.key in self._allow:
                shown = f"{entry.key} differs ({entry.value} against {entry.other})"
                self._mark(key, f"{shown}, let through by --allow {entry.key}")
            else:
                is_timed = False
                self.refused.append(_refused_row(key, seed, entry, "speed"))
        self.pairs.append([*key, seed, run.name, base.name, not (run.is_final and base.is_final), is_timed])
        for sentence in self._remarks(run, base):
            self._mark(key, sentence)
        return True

    def _mark(self, key: tuple[str, str, str], sentence: str) -> None:
        known = self.marks.setdefault(key, [])
        if sentence not in known:
            known.append(sentence)

    def _differences(self, run: _Run, base: _Run) -> list[Difference]:
        """Return everything that must be equal, or match, and does not."""
        key = (run.name, base.name)
        if key not in self._known:
            equal = _unequal((*self._config_keys, *self._origin_keys), run, base)
            self._known[key] = [*equal, *self._trajectory_differences(run, base)]
        return self._known[key]

    def _trajectory_differences(self, run: _Run, base: _Run) -> Iterator[Difference]:
        own, other = self._both_trajectories(run, base)
        if own is not None and other is not None:
            yield from compare(own, other)

    def _both_trajectories(self, run: _Run, base: _Run) -> tuple[Trajectory | None, Trajectory | None]:
        return self._trajectories.get(run.name), self._trajectories.get(base.name)

    def _remarks(self, run: _Run, base: _Run) -> Iterator[str]:
        """Yield what a reader must know of a pair that is let through."""
        own, other = self._both_trajectories(run, base)
        factor = 1.0 if own is None or other is None else constant_factor(own, other)
        if factor != 1.0 and own is not None and other is not None:
            yield factor_sentence(factor, own.first_batch_size, other.first_batch_size)
        if run.values.get("config_hash") is not None and run.values.get("hash_matches") is None:
            yield f"its config hash {run.values['config_hash']} is by a rule that this version does not know"
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


@dataclass(frozen=True)
class _Run:
    """One row of ``runs``."""

    name: str
    values: dict[str, Any]
    is_final: bool

    @property
    def why_unusable(self) -> str | None:
        """Why it cannot be in a pair; a diverged run can, for it tells something about its arm."""
        state, cause = self.values["state"], self.values["cause"]
        if self.is_final or is_diverged(state, cause):
            return None
        return str(state) if not isinstance(cause, str) else f"{state} ({cause})"

    def number(self, key: str, otherwise: float) -> float:
        value = self.values.get(key)
        return float(value) if isinstance(value, int | float) and value == value else otherwise


def _runs(table: pd.DataFrame) -> dict[object, list[_Run]]:
    """Return runs by seed, each seed's in the order in which they began."""
    table = table.sort_values(["seed", "started_at"], kind="stable")
    by_seed: dict[object, list[_Run]] = {}
    for name, values, final in zip(table.index, records(table), is_final(table), strict=True):
        by_seed.setdefault(values["seed"], []).append(_Run(str(name), values, bool(final)))
    return by_seed


def _unequal(names: Sequence[str], run: _Run, other: _Run) -> Iterator[Difference]:
    for name in names:
        value, other_value = run.values.get(name), other.values.get(name)
        if not _same(value, other_value):
            yield Difference(name, _shown(value), _shown(other_value), FACT_CHANGES.get(name) or changes(name))


def _refused_row(key: _Key, seed: object, difference: Difference, refuses: str) -> list[object]:
    return [*key, seed, difference.key, str(shown(difference.value)), str(shown(difference.other)), refuses]


def _same(one: object, two: object) -> bool:
    missing = [value is None or value is pd.NA or value != value for value in (one, two)]
    return all(missing) if any(missing) else bool(one == two)


def _shown(value: object) -> object:
    is_missing = value is None or value is pd.NA or value != value
    return shown(None if is_missing else value)
