"""Which runs may be compared: checked against the baseline, equal in everything but the schedule, paired by seed.

A number is made of exactly the runs that were checked here. All others are refused by name.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from adabatch.fields import Difference, shown
from analysis.checked_runs import CheckedRun, RunChecker, is_missing
from analysis.frames import Data, tuples
from analysis.trajectories import shift_hints

_Key = tuple[str, str, str]
_PAIR_COLUMNS = ["group", "arm", "baseline", "seed", "run", "baseline_run", "is_final", "is_timed"]
_REFUSED_COLUMNS = ["group", "arm", "baseline", "seed", "key", "value", "baseline_value", "refuses"]
_UNPAIRED_COLUMNS = ["group", "arm", "baseline", "seed", "reason"]


@dataclass(frozen=True)
class Matching:
    """Pairs of runs, and what stands against the others.

    Attributes:
        pairs: one row a pair: ``group``, ``arm``, ``baseline`` (an arm), ``seed``, ``run``, ``baseline_run``,
            ``is_final`` (whether both runs have final numbers), ``is_timed`` (whether their seconds may be compared).
        refused: one row a difference: ``group``, ``arm``, ``baseline``, ``seed``, ``key``, ``value``,
            ``baseline_value``, ``refuses`` (``all``, or ``speed`` where it may change nothing but the time).
            ``baseline`` is the arm itself where a run differs from the arm's other runs.
        unpaired: one row a seed without a pair: ``group``, ``arm``, ``baseline``, ``seed``, ``reason``.
        counted: the runs that are in numbers: those that passed the check against a baseline run, and these.
        untimed: those of them whose seconds are in no number.
        marks: by group, arm and baseline what a reader must know about the pairs, as sentences.
        baselines: by group the sweep's baseline arm.
        starts: group, arm and baseline where the baseline is fixed at the arm's first batch.
    """

    pairs: pd.DataFrame
    refused: pd.DataFrame
    unpaired: pd.DataFrame
    counted: frozenset[str] = frozenset()
    untimed: frozenset[str] = frozenset()
    marks: dict[_Key, list[str]] = field(default_factory=dict)
    baselines: dict[str, str] = field(default_factory=dict)
    starts: frozenset[_Key] = frozenset()


def match(data: Data, allow: Sequence[str] = (), baseline: str | None = None) -> Matching:
    """Check and pair the runs of every arm with those of its baselines: the sweep's, and one fixed at its first batch.

    Args:
        allow: keys that may differ between the two runs of a pair; such pairs are marked.
        baseline: an arm's name that goes before the sweep's own; needed for runs that belong to no sweep.
    """
    checker = RunChecker(data, frozenset(allow))
    matcher = _Matcher(checker, baseline)
    for group, runs in data.runs.groupby("group", sort=False):
        matcher.match_group(str(group), runs)
    for key, sentence in shift_hints(data, checker.trajectories, matcher.pairs, matcher.refused).items():
        matcher.mark(key, sentence)
    return Matching(
        pd.DataFrame(matcher.pairs, columns=_PAIR_COLUMNS).astype({"is_final": bool, "is_timed": bool}),
        pd.DataFrame(matcher.refused, columns=_REFUSED_COLUMNS),
        pd.DataFrame(matcher.unpaired, columns=_UNPAIRED_COLUMNS),
        frozenset(matcher.counted),
        frozenset(matcher.counted - matcher.timed),
        matcher.marks,
        matcher.baselines,
        frozenset(matcher.starts),
    )


class _Matcher:
    def __init__(self, checker: RunChecker, baseline: str | None) -> None:
        self._checker = checker
        self._baseline = baseline
        self.pairs: list[list[object]] = []
        self.refused: list[list[object]] = []
        self.unpaired: list[list[object]] = []
        self.counted: set[str] = set()
        self.timed: set[str] = set()
        self.marks: dict[_Key, list[str]] = {}
        self.baselines: dict[str, str] = {}
        self.starts: set[_Key] = set()

    def match_group(self, group: str, runs: pd.DataFrame) -> None:
        """Pair the arms of one group with its baseline, and growing ones with the arm fixed at their start."""
        arms = {str(arm): self._checker.runs_of(table) for arm, table in runs.groupby("arm", sort=False)}
        main = self._main_baseline(arms, runs)
        if main not in arms:
            reason = f"the baseline {main} is not among the runs" if main else "no arm has a fixed batch"
            self.unpaired += [[group, row.arm, main or "", row.seed, reason] for row in tuples(runs)]
            return
        self.baselines[group] = main
        for arm in arms:
            self._mark_differing_repeats((group, arm, main), arms[arm])
        alike = self._alike_arms(group, arms, main)
        for arm, members in alike.items():
            starts = self._fixed_at_start(arm, alike)
            self.starts |= {(group, arm, start) for start in starts}
            for baseline in dict.fromkeys([main, *starts]):
                if arm != baseline:
                    self._match_arms((group, arm, baseline), members, alike[baseline])
        self._count_baseline((group, main, main), [run for run in alike[main] if run.is_usable])

    def _count_baseline(self, key: _Key, runs: list[CheckedRun]) -> None:
        """Count the baseline's runs that are in a pair, and those like them; if none is, those like the first."""
        pairs = [pair for pair in self.pairs if (pair[0], pair[2]) == key[:2]]
        paired = {str(pair[5]) for pair in pairs}
        references = [run for run in runs if run.name in paired] or runs[:1]
        known = {run.name for run in references}
        self.counted |= known
        self.timed |= {str(pair[5]) for pair in pairs if pair[7]} if paired else known
        for run in runs:
            if run.name in known:
                continue
            alike = [other for other in references if not self._checker.refusals(run, other)]
            if alike:
                self._count(run, alike[0])
            else:
                for difference in self._checker.refusals(run, references[0]):
                    self.refused.append(_refused_row(key, run.seed, difference, "all"))

    def _main_baseline(self, arms: dict[str, list[CheckedRun]], runs: pd.DataFrame) -> str | None:
        """Return the arm asked for or declared, be it there or not; else that of the smallest fixed batch."""
        declared = next(iter(runs.baseline.dropna()), None)
        if self._baseline or declared:
            return self._baseline or declared
        batches = {arm: self._checker.batches(members) for arm, members in arms.items()}
        fixed = {arm: sizes[0] for arm, sizes in batches.items() if len(set(sizes)) == 1}
        return min(fixed, key=lambda arm: fixed[arm], default=None)

    def _fixed_at_start(self, arm: str, arms: dict[str, list[CheckedRun]]) -> list[str]:
        """Return the fixed arms whose batch is the first of a growing arm."""
        own = self._checker.batches(arms[arm])
        if len(set(own)) < 2:
            return []
        return [name for name, members in arms.items() if set(self._checker.batches(members)) == {own[0]}]

    def _alike_arms(self, group: str, arms: dict[str, list[CheckedRun]], main: str) -> dict[str, list[CheckedRun]]:
        """Return each arm's runs of one config: the one that most runs match; the others are refused.

        One arm's name may cover two schedules, or two sweeps that were loaded together.
        """
        parts = {arm: self._checker.partition(members) for arm, members in arms.items()}
        others = [members for arm, members in arms.items() if arm != main]
        chosen_base = max(parts[main], key=lambda part: (self._num_matches(part, others), len(part)))
        chosen = {main: chosen_base}
        for arm in arms:
            if arm != main:
                chosen[arm] = max(parts[arm], key=lambda part: (self._num_matches(chosen_base, [part]), len(part)))
            for part in parts[arm]:
                if part is not chosen[arm]:
                    self._refuse_part((group, arm, arm), part, chosen[arm])
        return {arm: chosen[arm] for arm in arms}

    def _num_matches(self, base: list[CheckedRun], others: Iterable[list[CheckedRun]]) -> int:
        reference = next((run for run in base if run.is_usable), None)
        if reference is None:
            return 0
        usable = [run for members in others for run in members if run.is_usable]
        return sum(not self._checker.refusals(run, reference) for run in usable)

    def _refuse_part(self, key: _Key, part: list[CheckedRun], chosen: list[CheckedRun]) -> None:
        for run in part:
            for difference in self._checker.config_differences(run, chosen[0]):
                self.refused.append(_refused_row(key, run.seed, difference, "all"))

    def _match_arms(self, key: _Key, own: list[CheckedRun], base: list[CheckedRun]) -> None:
        """Pair runs seed by seed; of several with one seed those that match first. Check what has no partner, too."""
        usable_base = [run for run in base if run.is_usable]
        first: tuple[CheckedRun, CheckedRun] | None = None
        by_seed: dict[object, tuple[list[CheckedRun], list[CheckedRun]]] = {}
        for place, members in enumerate((own, base)):
            for member in members:
                by_seed.setdefault(member.seed, ([], []))[place].append(member)
        for seed, (mine, theirs) in by_seed.items():
            for run, other in self._couples(mine, theirs):
                if run is None or other is None:
                    self._record_unpaired(key, seed, run, mine, theirs, usable_base)
                elif self._match_runs(key, run, other, first) and first is None:
                    first = run, other

    def _couples(
        self, own: list[CheckedRun], base: list[CheckedRun]
    ) -> Iterator[tuple[CheckedRun | None, CheckedRun | None]]:
        """Yield the runs of one seed in twos: usable and matching ones first, the rest in the order of their start."""
        left = list(base)
        rest = []
        for run in own:
            candidates = (one for one in left if run.is_usable and one.is_usable)
            other = next((one for one in candidates if not self._checker.refusals(run, one)), None)
            if other is None:
                rest.append(run)
            else:
                left.remove(other)
                yield run, other
        yield from itertools.zip_longest(rest, left)

    def _record_unpaired(
        self,
        key: _Key,
        seed: object,
        run: CheckedRun | None,
        own: list[CheckedRun],
        base: list[CheckedRun],
        usable_base: list[CheckedRun],
    ) -> None:
        """Write down that a run has no partner; it counts if it matches any run of the baseline."""
        lacking, left = (key[1], base) if run is None else (key[2], own)
        self.unpaired.append([*key, seed, f"{lacking} has no {'further ' if len(left) > 1 else ''}run of this seed"])
        if run is None or not run.is_usable or not usable_base:
            return
        refusals = [self._checker.refusals(run, other) for other in usable_base]
        if all(refusals):
            self.refused += [_refused_row(key, seed, difference, "all") for difference in refusals[0]]
        else:
            self._count(run, usable_base[next(place for place, found in enumerate(refusals) if not found)])

    def _match_runs(
        self, key: _Key, run: CheckedRun, base: CheckedRun, first: tuple[CheckedRun, CheckedRun] | None
    ) -> bool:
        """Accept a pair, refuse it or leave it out; return whether it was accepted."""
        reason = run.why_unusable or (base.why_unusable and f"the run of {key[2]} is {base.why_unusable}")
        if reason:
            self.unpaired.append([*key, run.seed, reason])
            if run.is_usable:
                self._count_if_checked(run, key)
            return False
        refusals = self._checker.refusals(run, base)
        if refusals:
            self.refused += [_refused_row(key, run.seed, entry, "all") for entry in refusals]
            return False
        for entry in self._checker.time_differences(run, base):
            self.refused.append(_refused_row(key, run.seed, entry, "speed"))
        for sentence in self._checker.remarks(run, base):
            self.mark(key, sentence)
        if first is not None:
            for entry in self._checker.origin_differences(run, first[0]):
                self.mark(key, f"{entry.key} is not the same in all pairs ({entry.value}, {entry.other})")
        is_timed = self._count(run, base)
        self.pairs.append([*key, run.seed, run.name, base.name, run.is_final and base.is_final, is_timed])
        return True

    def _count_if_checked(self, run: CheckedRun, key: _Key) -> None:
        """Count a run whose own partner cannot be used, if it matches another run of the baseline."""
        for other in self._checker.usable_runs(key[0], key[2]):
            if not self._checker.refusals(run, other):
                self._count(run, other)
                return

    def _count(self, run: CheckedRun, base: CheckedRun) -> bool:
        """Let a checked run into the numbers; return whether its seconds are in them, too."""
        self.counted.add(run.name)
        is_timed = not self._checker.time_differences(run, base)
        if is_timed:
            self.timed.add(run.name)
        return is_timed

    def _mark_differing_repeats(self, key: _Key, runs: list[CheckedRun]) -> None:
        """Mark runs of one seed in several sweeps whose results differ: something unrecorded was not the same."""
        by_seed: dict[object, dict[object, object]] = {}
        for run in runs:
            if run.is_final:
                by_seed.setdefault(run.seed, {}).setdefault(run.values.get("sweep"), run.values["final_test_accuracy"])
        seeds = [str(seed) for seed, finals in by_seed.items() if len(set(finals.values())) > 1]
        if seeds:
            self.mark(key, f"runs of {key[1]} with seed {', '.join(seeds)} in several sweeps have different results")

    def mark(self, key: _Key, sentence: str) -> None:
        """Add what a reader must know about the pairs, once."""
        known = self.marks.setdefault(key, [])
        if sentence not in known:
            known.append(sentence)


def _refused_row(key: _Key, seed: object, difference: Difference, refuses: str) -> list[object]:
    value, other = (shown(None if is_missing(one) else one) for one in (difference.value, difference.other))
    return [*key, seed, difference.key, str(value), str(other), refuses]
