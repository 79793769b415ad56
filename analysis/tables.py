"""The tables that people read: accuracy, speedup, what the speedup is made of, and what stands beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from analysis.accuracy import decision_text
from analysis.comparison import Comparison
from analysis.frames import is_final, shown_state, tuples
from analysis.speedup import NOISE_UNKNOWN, NOT_REACHED, QUANTITIES, TO_TARGET, WITHIN_NOISE

#: Stands for a number that does not exist.
NONE = "–"
GROUP = "data and network"
_LISTED = 20


@dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Attributes:
        name: a word, for programs.
        rows: one list of cells a row, as long as ``columns``.
        notes: what a reader must know, sentences.
    """

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    @property
    def frame(self) -> pd.DataFrame:
        """The cells as a frame of text."""
        return pd.DataFrame(self.rows, columns=self.columns)


def make_tables(comparison: Comparison) -> list[Table]:
    """Return all tables of a comparison; those without a row are left out."""
    tables = [
        accuracy_table(comparison),
        speedup_table(comparison),
        target_table(comparison),
        split_table(comparison),
        forecast_table(comparison),
        refused_table(comparison),
        unfinished_table(comparison),
    ]
    return [table for table in tables if table.rows]


def accuracy_table(comparison: Comparison) -> Table:
    """Return accuracy by arm and its difference to the baseline."""
    batches = batch_ranges(comparison)
    shows_top5 = bool(comparison.accuracy.top5_mean.notna().any())
    columns = [GROUP, "arm", "batch", "runs", "final %", "best %*"]
    columns += ["top-5 %"] if shows_top5 else []
    columns += ["against", "pairs", "points", "95 % CI", "verdict"]
    rows = []
    for row in tuples(comparison.accuracy):
        done = f"{row.n}" if row.n == row.planned else f"{row.n} of {row.planned}"
        cells = [row.group, row.arm, batches.get((row.group, row.arm), NONE), done]
        cells += [percent(row.final_mean, row.final_sd), percent(row.best_mean, math.nan)]
        cells += [percent(row.top5_mean, row.top5_sd)] if shows_top5 else []
        if row.baseline is None or pd.isna(row.baseline):
            is_baseline = comparison.matching.baselines.get(row.group) == row.arm
            cells += ["", "", "", "", "baseline" if is_baseline else "compared with nothing"]
        else:
            verdict = decision_text(row.decision, row.seeds_needed, comparison.margin_points, row.diverged)
            cells += [
                row.baseline,
                str(row.pairs),
                signed(row.difference_points),
                interval(row.low_points, row.high_points, signed),
            ]
            cells += [verdict]
        rows.append(cells)
    notes = [
        "final: test accuracy after the last epoch, mean ± standard deviation over seeds.",
        "* best epoch, chosen on the test set: too good, and for show only.",
        f"points: final accuracy minus that of the arm it stands against, paired by seed, with Student's interval; "
        f'"within {comparison.margin_points:g}" if that lies above -{comparison.margin_points:g}.',
    ]
    if (comparison.accuracy.low_points.isna() & (comparison.accuracy.pairs > 1)).any():
        notes.append("Two pairs with equal differences have no interval: so few are equal by chance.")
    return _table("accuracy", "Accuracy", columns, rows, [*notes, *mark_notes(comparison)])


def speedup_table(comparison: Comparison) -> Table:
    """Return seconds and updates of the baseline divided by the arm's."""
    columns = [GROUP, "arm", "against", "pairs", "total", "95 % CI", "noise"]
    columns += [quantity.label for name, quantity in QUANTITIES.items() if name != "total"]
    rows = []
    for key, by_quantity in _by_pair(comparison):
        total = by_quantity["total"]
        cells = [*key, str(total.n), times(total.value), interval(total.low, total.high, plain)]
        cells += [noise_text(total.noise, total.verdict)]
        cells += [_ratio_text(by_quantity[name]) for name in QUANTITIES if name != "total"]
        rows.append(cells)
    notes = [
        "Seconds of the arm it stands against divided by its own, so more than 1 is faster; geometric mean over seeds, "
        "Student's interval of the logarithms. total: training and growth, without tests.",
        "noise: by how much runs of equal work differ; a speedup no larger is marked ~ and means nothing.",
    ]
    return _table("speedup", "Speedup", columns, rows, [*notes, *mark_notes(comparison)])


def target_table(comparison: Comparison) -> Table:
    """Return what it took to reach the target accuracy, against the baseline."""
    columns = [GROUP, "arm", "against", "target %", "reached", "the other reached"]
    columns += [quantity.label for quantity in TO_TARGET.values()]
    rows = []
    for key, by_quantity in _by_pair(comparison):
        seconds = by_quantity["seconds_to_target"]
        cells = [*key, percent(seconds.target, math.nan)]
        cells += [f"{count} of {seconds.planned}" for count in (seconds.reached, seconds.baseline_reached)]
        rows.append([*cells, *(_ratio_text(by_quantity[name]) for name in TO_TARGET)])
    notes = [
        "Speedups up to the first epoch whose test accuracy is at least the target; there is none unless every run of "
        "both arms reached it."
    ]
    return _table("target", "To the target accuracy", columns, rows, notes)


def _by_pair(comparison: Comparison) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Yield group, arm and baseline, and the rows of `Comparison.speedup` by quantity."""
    for key, table in comparison.speedup.groupby(["group", "arm", "baseline"], sort=False):
        yield [str(name) for name in key], {row.quantity: row for row in tuples(table)}


def split_table(comparison: Comparison) -> Table:
    """Return the factors whose product is the total speedup."""
    columns = [GROUP, "arm", "against", "total", "= fewer updates", "x throughput", "x growth", "x rest"]
    rows = [
        [row.group, row.arm, row.baseline, *map(times, (row.total, row.updates, row.throughput, row.growth, row.rest))]
        for row in tuples(comparison.split)
        if row.n
    ]
    notes = [
        "fewer updates: fewer optimizer steps; throughput: forward and backward per sample; growth: compiling and "
        "tuning for larger batches; rest: data and all else.",
    ]
    return _table("split", "What the speedup is made of", columns, rows, notes)


def forecast_table(comparison: Comparison) -> Table:
    """Return what was predicted before the runs started beside what they took."""
    runs = comparison.data.done
    runs = runs[runs.forecast_seconds.notna()].astype({"forecast_seconds": float})
    arms = runs.groupby(["group", "arm", "baseline"], sort=False, dropna=False).agg(
        runs=("seed", "size"), predicted=("forecast_seconds", "mean"), took=("elapsed_seconds", "mean")
    )
    totals = comparison.speedup[comparison.speedup.quantity == "total"]
    measured = {(row.group, row.arm, row.baseline): row.value for row in tuples(totals)}
    predicted = {(row.group, row.arm): row.predicted for row in tuples(arms.reset_index())}
    columns = [GROUP, "arm", "runs", "predicted s", "took s", "off", "predicted speedup", "measured speedup"]
    rows = []
    for row in tuples(arms.reset_index()):
        cells = [row.group, row.arm, str(row.runs), f"{row.predicted:.3g}", f"{row.took:.3g}"]
        cells.append(f"{100 * (row.predicted / row.took - 1):+.0f} %")
        if row.arm == row.baseline:
            rows.append([*cells, "baseline", ""])
        else:
            forecast = predicted.get((row.group, row.baseline), math.nan) / row.predicted
            rows.append([*cells, times(forecast), times(measured.get((row.group, row.arm, row.baseline), math.nan))])
    notes = [
        "predicted: training and growth of one run, from micro-batches that were timed before the first run started; "
        "took: the mean over finished runs."
    ]
    return _table("forecast", "Forecast", columns, rows, notes)


def refused_table(comparison: Comparison) -> Table:
    """Return the pairs that were not compared, with the key and both values."""
    columns = [GROUP, "arm", "against", "seeds", "key", "value", "baseline's value", "refuses"]
    refused = comparison.matching.refused.astype({"value": str, "baseline_value": str})
    rows = []
    keys = ["group", "arm", "baseline", "key", "value", "baseline_value", "refuses"]
    for entry, table in refused.groupby(keys, sort=False):
        words = [str(word) for word in entry]
        rows.append([*words[:3], ", ".join(map(str, table.seed)), *words[3:]])
    notes = [
        "These pairs differ in more than their schedule. They are in no number, or only in no speed if the key can "
        "change nothing but the time; --allow KEY lets them in, marked."
    ]
    return _table("refused", "Refused comparisons", columns, rows, notes)


def unfinished_table(comparison: Comparison) -> Table:
    """Return the runs that are not done and the seeds without a counterpart."""
    columns = [GROUP, "arm", "seed", "state", "cause"]
    runs = comparison.data.runs
    runs = runs[~is_final(runs)]
    runs = runs.assign(state=shown_state(runs))
    rows = [
        [str(row.group), str(row.arm), str(row.seed), str(row.state), "" if pd.isna(row.cause) else str(row.cause)]
        for row in tuples(runs)
    ]
    known = {(row[0], row[1], row[2]) for row in rows}
    for row in tuples(comparison.matching.unpaired):
        if (str(row.group), str(row.arm), str(row.seed)) not in known:
            rows.append([str(row.group), str(row.arm), str(row.seed), f"no pair with {row.baseline}", str(row.reason)])
    return _table("unfinished", "Runs without a number", columns, rows)


def mark_notes(comparison: Comparison) -> Iterator[str]:
    """Yield what a reader must know of pairs, one sentence for all that share it."""
    pairs_by_mark: dict[str, list[str]] = {}
    for (group, arm, baseline), sentences in comparison.matching.marks.items():
        for sentence in sentences:
            where = f"{group}/{arm}" if len(comparison.matching.baselines) > 1 else arm
            pairs_by_mark.setdefault(sentence, []).append(f"{where} against {baseline}")
    for sentence, pairs in pairs_by_mark.items():
        listed = ", ".join(pairs[:_LISTED]) + (f" and {len(pairs) - _LISTED} more" if len(pairs) > _LISTED else "")
        yield f"! {listed}: {sentence}."


def provenance(comparison: Comparison) -> list[str]:
    """Return in sentences what the numbers were made of: runs, code, machine, versions."""
    runs = comparison.data.done
    if not len(runs):
        return ["No run is done."]
    shas = sorted({f"{sha[:8]}{'+changes' if dirty else ''}" for sha, dirty in zip(
        runs.git_sha.fillna("unknown"), runs.git_dirty.eq(True), strict=True)})  # fmt: skip
    machines = sorted({str(model) for model in runs.device_model.dropna()})
    versions = sorted({f"torch {version}" for version in runs.torch.dropna()})
    counts = ", ".join(f"{count} {state}" for state, count in shown_state(comparison.data.runs).value_counts().items())
    return [
        f"{len(comparison.data.runs)} runs ({counts}); code {', '.join(shas)}; "
        f"{', '.join(machines) or 'machine unknown'}; {', '.join(versions) or 'versions unknown'}."
    ]


def batch_ranges(comparison: Comparison) -> dict[tuple[str, str], str]:
    """Return by group and arm the batch size, or the first and the last one, of the run that got furthest."""
    by_run = comparison.data.epochs.sort_values("epoch", kind="stable").groupby("run", observed=True).batch_size
    firsts, lasts = by_run.first().to_dict(), by_run.last().to_dict()
    ranges = {}
    runs = comparison.data.runs
    for row in tuples(runs.assign(is_done=is_final(runs)).sort_values(["is_done", "epochs"], kind="stable")):
        if row.Index in firsts:
            first, last = int(firsts[row.Index]), int(lasts[row.Index])
            ranges[(row.group, row.arm)] = str(first) if first == last else f"{first} to {last}"
    return ranges


def percent(mean: float, deviation: float) -> str:
    """Return a fraction in percent with its spread."""
    if math.isnan(mean):
        return NONE
    return f"{100 * mean:.2f}" + ("" if math.isnan(deviation) else f" ± {100 * deviation:.2f}")


def signed(value: float) -> str:
    """Return a number with its sign and two decimals; what rounds to nothing has no minus."""
    return NONE if math.isnan(value) else f"{round(value, 2) + 0.0:+.2f}"


def plain(value: float) -> str:
    """Return a number with two decimals."""
    return NONE if math.isnan(value) else f"{value:.2f}"


def times(value: float) -> str:
    """Return a speedup."""
    return NONE if math.isnan(value) else f"{value:.2f}x"


def interval(low: float, high: float, shown: object) -> str:
    """Return the ends of an interval."""
    if math.isnan(low):
        return NONE
    text = signed if shown is signed else plain
    return f"{text(low)} to {text(high)}"


def noise_text(noise: float, verdict: str) -> str:
    """Return the noise floor and whether the speedup exceeds it."""
    if verdict == NOISE_UNKNOWN or math.isnan(noise):
        return "unknown"
    return f"{noise:.2f}x" + (f": {WITHIN_NOISE}" if verdict == WITHIN_NOISE else "")


def _ratio_text(row: Any) -> str:
    if row.verdict == NOT_REACHED:
        return NOT_REACHED
    return times(row.value) + (" ~" if row.verdict == WITHIN_NOISE else "")


def _table(name: str, title: str, columns: list[str], rows: list[list[str]], notes: Sequence[str] = ()) -> Table:
    """Return a table; what is the same in all rows, group or baseline, goes from its column into the title."""
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    shared = {}
    for column in (GROUP, "against"):
        values = set(frame.get(column, pd.Series(dtype=object))) - {""}
        if len(values) == 1:
            shared[column] = values.pop()
            frame = frame.drop(columns=column)
    if GROUP in frame:
        frame[GROUP] = frame[GROUP].mask(frame[GROUP] == frame[GROUP].shift(), "")
    title += f": {shared[GROUP]}" if GROUP in shared else ""
    title += f", against {shared['against']}" if "against" in shared else ""
    return Table(name, title, [str(column) for column in frame], frame.to_numpy().tolist(), list(notes))
