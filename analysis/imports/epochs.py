"""The epochs of one run, from rows in any order, parts of rows, and what follows from other numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from adabatch.rundir.columns import COLUMNS, TRAIN_SPANS, columns_where
from adabatch.terminal import counted, noun_for
from analysis.imports.names import (
    BYTES,
    COUNTS,
    FRACTIONS,
    LOSSES,
    MEASURED,
    PLAIN,
    REQUIRED,
    REQUIRED_RESULTS,
    SAMPLES_PER_EPOCH,
    SECONDS,
    SECONDS_PER_EPOCH,
    UNITS,
    Unit,
    how_to_give,
)
from analysis.imports.rows import PLACE
from analysis.imports.text import Unusable, is_missing, parse_decimal, parse_infinite
from analysis.trajectories import shifted_rates

#: Logs are rounded.
_ROUNDING = 0.01
_OPTIONAL_SPANS = tuple(name for name in SECONDS if name not in ("elapsed_seconds", SECONDS_PER_EPOCH))
_PARTS = tuple(f"{span}_seconds" for span in (*TRAIN_SPANS, "growth"))


@dataclass(frozen=True)
class Reading:
    """How the rows of a run are read.

    Attributes:
        units, last, per_step: as of `analysis.imports.rows.Rows`.
        first_epoch: 0 or 1, which the file counts from.
        learning_rate_at: as of `analysis.imports.options.Options`.
        drops_partial: whether an epoch's last, smaller batch is left out; None if unknown.
        num_epochs: for a run of which only the end is known; None for others.
    """

    units: Mapping[str, Unit]
    last: frozenset[str]
    per_step: frozenset[str]
    first_epoch: int
    learning_rate_at: str = "end"
    drops_partial: bool | None = None
    num_epochs: int | None = None


def make_epochs(rows: pd.DataFrame, reading: Reading, note: Callable[[str], None]) -> pd.DataFrame:
    """Return the columns of ``epochs.csv`` of one run, as numbers.

    Args:
        rows: text by our names.
        note: takes a sentence on what was assumed or left out.

    Raises:
        Unusable: if the rows are no log of one run, naming the place and what is allowed.
    """
    numbers = read_numbers(rows, reading.units)
    if reading.num_epochs is not None:
        numbers["epoch"] = _end_only(numbers, reading.num_epochs)
    numbers = numbers[~_is_before_training(numbers)]
    epochs = _counted(_merged(numbers, rows[PLACE], reading), reading)
    if reading.num_epochs is None:
        _shift_rates(epochs, reading.learning_rate_at, note)
        _derive(epochs, reading.drops_partial, note)
    _leave_out_partial(epochs, note)
    _check(epochs, REQUIRED if reading.num_epochs is None else REQUIRED_RESULTS[:-1])
    found = epochs.reindex(columns=list(COLUMNS))
    return found.astype({name: "Int64" for name in COUNTS if name in found})


def read_numbers(rows: pd.DataFrame, units: Mapping[str, Unit]) -> pd.DataFrame:
    """Return what was measured as floats, NaN where it is missing; all of `MEASURED` are columns.

    Raises:
        Unusable: for a cell that is no number of its column.
    """
    numbers = {}
    for name in MEASURED:
        texts = rows[name] if name in rows else [""] * len(rows)
        unit = units.get(name, PLAIN)
        numbers[name] = [_read_cell(name, text, unit, place) for text, place in zip(texts, rows[PLACE], strict=True)]
    return pd.DataFrame(numbers, index=rows.index, dtype=float)


def _read_cell(name: str, text: str, unit: Unit, place: str) -> float:
    if is_missing(text):
        return math.nan
    infinite = parse_infinite(text) if name in LOSSES else None
    if infinite is not None:
        return infinite
    try:
        if text.endswith("%") and name in FRACTIONS:
            unit, text = UNITS["percent"], text[:-1].rstrip()
        value = float(parse_decimal(text) * unit.scale + unit.offset)
        if name in BYTES and unit is not PLAIN:
            value = float(round(value))  # larger units are logged as decimals
        if name in FRACTIONS and not 0 <= value <= 1:
            raise ValueError(f"a fraction between 0 and 1, or be mapped as percent: --map COLUMN={name}:percent")
        if name in (*COUNTS, "epoch") and not (value.is_integer() and value >= 0):
            raise ValueError("a whole number")
        if name in (*SECONDS, "learning_rate") and not 0 <= value < math.inf:
            raise ValueError("a number of at least 0")
    except ValueError as error:
        raise Unusable(f"{place}: {name} is {text}; it must be {error}.") from error
    return value


def _end_only(numbers: pd.DataFrame, num_epochs: int) -> float:
    told = numbers.epoch.dropna()
    if (told != num_epochs).any():
        raise Unusable(f"epoch is {told.iloc[0]:g}; it must be num_epochs, {num_epochs}, in the only row of a run.")
    return float(num_epochs)


def _is_before_training(numbers: pd.DataFrame) -> pd.Series:
    """Return which rows are of epoch 0 and say that nothing was done yet."""
    return (numbers.epoch == 0) & ((numbers.updates == 0) | (numbers.samples == 0))


def first_epoch_of(rows: pd.DataFrame, units: Mapping[str, Unit]) -> int:
    """Return from where a file counts its epochs, 0 or 1; 1 where that cannot be told."""
    zero = [place for place, text in enumerate(rows.get("epoch", ())) if text and _is_zero("epoch", text, units)]
    for place in zero:
        counts = [rows[name].iloc[place] for name in ("updates", "samples") if name in rows]
        if not any(_is_zero(name, text, units) for name, text in zip(("updates", "samples"), counts, strict=False)):
            return 0
    return 1


def _is_zero(name: str, text: str, units: Mapping[str, Unit]) -> bool:
    try:
        return _read_cell(name, text, units.get(name, PLAIN), "") == 0
    except Unusable:  # the run of this row says so
        return False


def _merged(numbers: pd.DataFrame, places: pd.Series, reading: Reading) -> pd.DataFrame:
    """Return one row an epoch, of rows that complement one another."""
    if numbers.epoch.isna().any():
        raise Unusable(f"{places[numbers.index[numbers.epoch.isna()][0]]}: epoch is missing; it must be a number.")
    groups = numbers.groupby("epoch", sort=True)
    merged = groups.first()
    for name, counts in groups.nunique().items():
        unequal = counts.index[counts > 1]
        if not len(unequal):
            continue
        if name in reading.last:
            merged[name] = groups[name].last()
        elif name in reading.per_step:
            merged.loc[unequal, name] = math.nan
        else:
            raise Unusable(_contradiction(numbers, places, str(name), float(unequal[0]), reading))
    return merged.reset_index()


def _contradiction(numbers: pd.DataFrame, places: pd.Series, name: str, epoch: float, reading: Reading) -> str:
    told = numbers[name][numbers.epoch == epoch].dropna().drop_duplicates()
    where = " and ".join(f"{places[line]}" for line in told.index[:2])
    values = " and ".join(f"{value:g}" for value in told.iloc[:2])
    what = (
        "a run has one row" if reading.num_epochs is not None else "rows of one epoch may only complement one another"
    )
    return (
        f"epoch {epoch:g} has {name} {values} ({where}); {what}. If these are several runs of one seed, a column "
        f"repeat must tell them apart."
    )


def _counted(epochs: pd.DataFrame, reading: Reading) -> pd.DataFrame:
    """Return the epochs counted from 1, all of them there."""
    if reading.num_epochs is not None:
        return epochs
    epochs = epochs.assign(epoch=epochs.epoch + 1 - reading.first_epoch)
    expected = np.arange(1, len(epochs) + 1)
    if not np.array_equal(epochs.epoch.to_numpy(), expected):
        there = {int(epoch) for epoch in epochs.epoch}
        missing = sorted(set(range(1, max(there) + 1)) - there)
        shown = ", ".join(f"{epoch - 1 + reading.first_epoch}" for epoch in missing[:5])
        shown += f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise Unusable(
            f"the epochs are {_range_text(sorted(there), reading.first_epoch)} without {shown}; they must be all from "
            f"{reading.first_epoch} on, which this file counts from."
        )
    return epochs


def _range_text(epochs: list[int], first: int) -> str:
    return f"{epochs[0] - 1 + first} to {epochs[-1] - 1 + first}"


def _shift_rates(epochs: pd.DataFrame, logged_at: str, note: Callable[[str], None]) -> None:
    if logged_at == "end":
        return
    epochs["learning_rate"] = shifted_rates(epochs.learning_rate.to_numpy(dtype=float), logged_at)
    end, beside = ("last", "before") if logged_at == "start" else ("first", "after")
    note(f"the log lacks the learning rate of the {end} epoch's last update; that of the epoch {beside} it is taken")


def _derive(epochs: pd.DataFrame, drops_partial: bool | None, note: Callable[[str], None]) -> None:
    """Fill what is not logged at all from the samples and seconds of each epoch."""
    batches = epochs.batch_size
    if epochs.samples.isna().all() and epochs[SAMPLES_PER_EPOCH].notna().all():
        steps = epochs[SAMPLES_PER_EPOCH]
        epochs["samples"] = (np.floor(steps / batches) * batches if drops_partial else steps).cumsum()
    if epochs.updates.isna().all() and epochs.samples.notna().all() and (batches > 0).all():
        updates = epochs.samples.diff().fillna(epochs.samples) / batches
        if drops_partial is None and (updates != np.floor(updates)).any():
            note(
                "an epoch's last, smaller batch is taken for an update; if it was left out, give "
                "--set dataset.partial_batch=drop"
            )
        epochs["updates"] = (np.floor(updates) if drops_partial else np.ceil(updates)).cumsum()
    if epochs.elapsed_seconds.isna().all() and epochs[SECONDS_PER_EPOCH].notna().all():
        epochs["elapsed_seconds"] = epochs[SECONDS_PER_EPOCH].cumsum()


def _leave_out_partial(epochs: pd.DataFrame, note: Callable[[str], None]) -> None:
    """Make spans and counts unknown that some epochs lack: their sum over a run would be too small."""
    for name in (*_OPTIONAL_SPANS, "micro_batch_size", "accumulation_steps", "samples_dropped"):
        missing = int(epochs[name].isna().sum())
        if 0 < missing < len(epochs):
            epochs[name] = math.nan
            note(f"{name} is missing in {missing} of {counted(len(epochs), 'epoch')}, and left out as unknown")


def _check(epochs: pd.DataFrame, required: tuple[str, ...]) -> None:
    """Refuse what cannot be the log of one run."""
    for name in required:
        missing = epochs.epoch[epochs[name].isna()]
        if len(missing) == len(epochs):
            raise Unusable(f"it lacks {how_to_give(name)}.")
        if len(missing):
            raise Unusable(f"{name} is missing in epoch {missing.iloc[0]:g}; it must be a number in every epoch.")
    for name in ("batch_size", "micro_batch_size", "accumulation_steps", *BYTES):
        if (epochs[name] < 1).any():
            raise Unusable(f"{name} is 0; it must be at least 1.")
    for name in columns_where(rises=True):
        values = epochs[name]
        if (values.diff().dropna() <= 0).any() or (values <= 0).any():
            raise Unusable(f"{name} does not rise from epoch to epoch; it must count from the start of the run.")
    _check_samples(epochs)
    _check_updates(epochs)
    _check_spans(epochs)


def _check_samples(epochs: pd.DataFrame) -> None:
    steps = epochs.samples.diff().fillna(epochs.samples)
    if len(epochs) > 1 and steps.max() - steps.min() >= epochs.batch_size.max():
        raise Unusable(
            f"epochs have {steps.min():g} to {steps.max():g} samples; they must not differ by a batch of "
            f"{epochs.batch_size.max():g} or more."
        )


def _check_updates(epochs: pd.DataFrame) -> None:
    """Refuse batch sizes that are not the samples of an update, where they stay the same for a while."""
    batches = epochs.batch_size
    steady = (batches == batches.shift(1, fill_value=batches.iloc[0])) & (
        batches == batches.shift(-1, fill_value=batches.iloc[-1])
    )
    samples, updates = (epochs[name].diff().fillna(epochs[name]) for name in ("samples", "updates"))
    expected = samples / batches
    wrong = steady & ((updates - expected).abs() > 1 + _ROUNDING * expected)
    if wrong.any():
        place = int(np.argmax(wrong))
        raise Unusable(
            f"epoch {place + 1} has {samples[place]:g} {noun_for(samples[place], 'sample')} in {updates[place]:g} "
            f"{noun_for(updates[place], 'update')}, and batch_size is {batches[place]:g}; it must be the samples of an "
            "update, over all devices and accumulation steps."
        )


def _check_spans(epochs: pd.DataFrame) -> None:
    steps = epochs.elapsed_seconds.diff().fillna(epochs.elapsed_seconds) * (1 + _ROUNDING)
    for spans in (_PARTS, ("train_seconds", "growth_seconds")):
        total = epochs[list(spans)].sum(axis=1)
        if (total > steps).any():
            epoch = int(np.argmax(total > steps)) + 1
            raise Unusable(
                f"in epoch {epoch} {', '.join(name for name in spans if epochs[name].notna().any())} are longer than "
                f"the epoch; they must be of each epoch alone, and elapsed_seconds their sum since the start."
            )
