"""What a reader must know besides the numbers, in sentences: each once, for all runs and groups that it concerns."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from adabatch.terminal import counted, duration, listed, noun_for
from analysis.cells import p_text, seeds_text
from analysis.frames import Data, among, has_failed, is_final, tuples
from analysis.intervals import drift, outliers
from analysis.matching import Matching
from analysis.names import arm_in, group_labels
from analysis.quality import Measure
from analysis.verdicts import UNDECIDED

DRIFT_COLUMNS = ["group", "change", "p_value", "hours"]
OUTLIER_COLUMNS = ["group", "arm", "seed", "run"]
_LEVEL = 0.05
#: A sentence names so many groups, and so many seeds of an arm.
_MOST_GROUPS = 5
_MOST_SEEDS = 10
#: Of pairs that are marked, a sentence names more: it says which numbers it is about.
_MOST_MARKED = 20


def drifts(data: Data, matching: Matching) -> pd.DataFrame:
    """Return the groups in which the seconds of equal work seem to have changed over time.

    ``change`` is a share, over ``hours`` from the first start to the last; ``p_value`` is two-sided, of no change.
    """
    rows = []
    for group, runs in _timed(data, matching).groupby("group", sort=False):
        starts = pd.to_datetime(runs.started_at, utc=True, errors="coerce", format="ISO8601")
        times = (starts - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy(dtype=float)
        same_host = runs.host.nunique(dropna=False) == 1
        found = drift(times, _logs(runs), runs.arm.tolist(), None if same_host else runs.host.astype(str).tolist())
        if found.p_value < _LEVEL:
            rows.append([group, math.expm1(found.change.value), found.p_value, found.hours])
    return pd.DataFrame(rows, columns=DRIFT_COLUMNS)


def outlying_runs(data: Data, matching: Matching) -> pd.DataFrame:
    """Return the runs whose seconds lie far from the median of their arm; they are counted like all others."""
    rows = []
    for group, runs in _timed(data, matching).groupby("group", sort=False):
        logs = _logs(runs)
        medians = pd.Series(logs).groupby(runs.arm.to_numpy()).transform("median").to_numpy()
        rows += [[group, row.arm, row.seed, row.Index] for row in tuples(runs[outliers(logs - medians)])]
    return pd.DataFrame(rows, columns=OUTLIER_COLUMNS)


def _timed(data: Data, matching: Matching) -> pd.DataFrame:
    return data.runs[is_final(data.runs) & among(data.runs.index, matching.counted - matching.untimed)]


def _logs(runs: pd.DataFrame) -> np.ndarray:
    return np.asarray(np.log(runs.elapsed_seconds.astype(float).to_numpy()))


def size_remarks(quality: pd.DataFrame, measure: Measure) -> Iterator[str]:
    """Yield where the test set is too small for any number of seeds, and which size would do.

    Args:
        quality: of `analysis.quality.quality_by_arm`.
    """
    small = quality[quality.test_samples_needed.notna() & (quality.decision == UNDECIDED)]
    alike: dict[tuple[int, bool], list[Any]] = {}
    for row in tuples(small):
        alike.setdefault((int(row.test_samples), math.isinf(row.test_samples_needed)), []).append(row)
    for (count, is_hopeless), rows in alike.items():
        arms: dict[str, list[str]] = {}
        for row in rows:
            arms.setdefault(arm_in(row.group, row.arm), []).append(row.group)
        where = ", ".join(f"{arm}{_where(groups, quality.group)}" for arm, groups in arms.items())
        samples = counted(count, "test sample")
        sentence = f"no number of seeds decides a margin of {measure.quality.margin_text} with {samples} for {where}"
        if is_hopeless:
            yield f"{sentence}, nor does a larger test set: the difference seems to be the margin itself"
        else:
            needed = sorted(row.test_samples_needed for row in rows)
            ends = dict.fromkeys(f"{end:,.0f}" for end in (needed[0], needed[-1]))
            yield f"{sentence}; with about {' to '.join(ends)} test samples, more seeds would"


def drift_remark(found: pd.DataFrame, groups: Sequence[str]) -> Iterator[str]:
    """Yield by how much the machine may have drifted, and where.

    Args:
        found: of `drifts`.
        groups: all groups.
    """
    labels = group_labels(groups)
    texts = [
        f"by {100 * row.change:+.1f} % within {duration(3600 * row.hours)} "
        f"({p_text(row.p_value)}{f'; {labels[row.group]}' if len(labels) > 1 else ''})"
        for row in tuples(found)
    ]
    if texts:
        yield f"the seconds of equal work changed {listed(texts, _MOST_GROUPS)}: the machine may have drifted"


def outlier_remark(found: pd.DataFrame, groups: Sequence[str]) -> Iterator[str]:
    """Yield which runs are outliers, by arm.

    Args:
        found: of `outlying_runs`.
        groups: all groups.
    """
    labels = group_labels(groups)
    texts = []
    for group, runs in found.groupby("group", sort=False):
        arms = []
        for arm, of_arm in runs.groupby("arm", sort=False):
            seeds = f"{noun_for(len(of_arm), 'seed')} {seeds_text(of_arm.seed, _MOST_SEEDS)}"
            arms.append(f"{arm_in(str(group), str(arm))} with {seeds}")
        texts.append(", ".join(arms) + (f" ({labels[str(group)]})" if len(labels) > 1 else ""))
    if texts:
        are = "are an outlier" if len(found) == 1 else "are outliers"
        named = listed(texts, _MOST_GROUPS, "; ")
        yield f"the seconds of {counted(len(found), 'run')} {are}; they stay in the numbers: {named}"


def remarks(data: Data, matching: Matching, measure: Measure) -> Iterator[str]:
    """Yield sentences on an unfinished sweep, test sets of unknown size and quick looks."""
    yield from _interim_remark(data)
    yield from _resolution_remark(data, matching, measure)
    yield from _quick_remark(data)


def _interim_remark(data: Data) -> Iterator[str]:
    """Yield that the seeds which a sweep declared are not all done."""
    if "num_planned_runs" not in data.runs:
        return
    for sweep, runs in data.runs.groupby("sweep", sort=False):
        planned = pd.to_numeric(runs.num_planned_runs, errors="coerce").max()
        done = int(is_final(runs).sum())
        ended = done + sum(map(has_failed, runs.state))
        if planned > ended:
            of = "the declared run is not" if planned == 1 else f"{done:,} of the {planned:,.0f} declared runs are"
            yield f"{sweep}: interim, {of} done; verdicts may still change"


def _resolution_remark(data: Data, matching: Matching, measure: Measure) -> Iterator[str]:
    """Yield where intervals may be narrower than one test sample, since it is unknown how many there are."""
    key = measure.num_samples_key
    if key is None:
        return
    runs = data.runs.loc[list(dict.fromkeys(matching.pairs[matching.pairs.is_final].run))]
    groups = [str(group) for group, cell in runs.groupby("group", sort=False) if measure.resolution(cell) is None]
    if groups:
        yield (
            f"the number of test samples is unknown ({key}){_where(groups, data.runs.group)}, so the intervals of "
            f"{measure.quality.name} are not kept at least as wide as one sample, and equal differences decide "
            f"nothing; import-csv is told it by --set {key}=N, adabatch.record by num_test_samples=N"
        )


def _quick_remark(data: Data) -> Iterator[str]:
    quick = data.runs.reindex(columns=["quick"]).quick.eq(True)
    if quick.any():
        names = ", ".join(sorted(data.runs[quick].sweep.dropna().astype(str).unique())) or counted(
            int(quick.sum()), "run"
        )
        yield f"{names}: a quick look at few samples and epochs, which proves nothing"


def mark_notes(matching: Matching) -> Iterator[str]:
    """Yield what a reader must know of pairs, one sentence for all that share it."""
    groups_by_mark: dict[str, dict[tuple[str, str], list[str]]] = {}
    for (group, arm, baseline), sentences in matching.marks.items():
        arms = arm_in(group, arm), arm_in(group, baseline)
        for sentence in sentences:
            groups_by_mark.setdefault(sentence, {}).setdefault(arms, []).append(group)
    for sentence, pairs in groups_by_mark.items():
        texts = [
            f"{arm} against {base}{_where(groups, matching.baselines, _MOST_MARKED)}"
            for (arm, base), groups in pairs.items()
        ]
        yield f"! {listed(texts, _MOST_MARKED)}: {sentence}."


def _where(groups: Sequence[str], all_groups: Iterable[str], most: int = _MOST_GROUPS) -> str:
    """Return in words which of several groups are meant; nothing for all of them."""
    labels = group_labels(all_groups)
    if set(groups) >= set(labels):
        return ""
    return f" ({listed([labels[group] for group in dict.fromkeys(groups)], most, '; ')})"
