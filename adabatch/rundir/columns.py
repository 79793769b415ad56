"""The columns of ``epochs.csv``, each described once. To add one, add a field to `EpochRow`.

A column that is also a result of the run (`OfRun.FINAL`) needs a field of `adabatch.rundir.outcome.Summary`, too.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from adabatch.fields import Range, at_least, between
from adabatch.files import write_text_atomic
from adabatch.reading import Unreadable, read_text

#: The spans that count as training: their sum is ``train_seconds``.
TRAIN_SPANS = ("data", "forward", "backward", "update")
#: Forward, backward and, unless gradients are accumulated, the update, where they are replayed as one CUDA graph. It is
#: part of ``train_seconds`` and has no column: how its time divides among those spans is not known.
GRAPH_SPAN = "graph"
_IN_A_GRAPH = ("forward", "backward", "update")
#: The spans that have a column; `adabatch.training.stopwatch` adds ``setup``, which belongs to no epoch.
EPOCH_SPANS = (*TRAIN_SPANS, "growth", "test", "save")


class Kind(StrEnum):
    """What kind of values a column holds; decides how they are checked and read."""

    COUNT = "count"
    FRACTION = "fraction"
    SECONDS = "seconds"
    #: Of memory. Unlike a count it may be blank in some epochs of a run: where it was resumed on another device.
    BYTES = "bytes"
    NUMBER = "number"


_WHOLE = Range("a whole number of at least 1", lambda value: isinstance(value, int) and value >= 1)
_RANGES = {
    Kind.COUNT: _WHOLE,
    Kind.BYTES: _WHOLE,
    Kind.FRACTION: between(0, 1),
    Kind.SECONDS: at_least(0),
    Kind.NUMBER: Range("a finite number", math.isfinite),
}


class OfRun(StrEnum):
    """How a column becomes one value of the run."""

    #: The last epoch's value: the column is cumulative.
    LAST = "last"
    #: The sum over the epochs.
    SUM = "sum"
    #: The largest of the epochs.
    MAX = "max"
    #: The last epoch's value, as ``final_NAME``; known only once the run is done.
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What is known about a column besides its name and type.

    Attributes:
        unit: such as samples; empty for a plain number.
        of_run: how it becomes a value of the run; None if it does not.
        required: whether an epoch without it is unusable.
        rises: whether it must increase from epoch to epoch.
        since: the version that introduced the column. Older files lack it and read as the field's default.
    """

    doc: str
    kind: Kind
    unit: str
    of_run: OfRun | None
    required: bool
    rises: bool
    since: str


#: Files of every version have the columns of this one.
FIRST_VERSION = "0.1.0"
_FACTS = "adabatch"
_NO_DEFAULT: Any = dataclasses.MISSING


def column(
    doc: str,
    kind: Kind = Kind.NUMBER,
    *,
    unit: str = "",
    of_run: OfRun | None = None,
    required: bool = False,
    rises: bool = False,
    since: str = FIRST_VERSION,
    default: Any = _NO_DEFAULT,
) -> Any:
    """Return a dataclass field for a column; see `ColumnFacts`. A column added in a later version needs a default."""
    facts = ColumnFacts(doc, kind, unit, of_run, required, rises, since)
    return dataclasses.field(default=default, metadata={_FACTS: facts})


def _seconds(doc: str) -> Any:
    return column(doc, Kind.SECONDS, unit="s", of_run=OfRun.SUM)


@dataclass(slots=True)
class EpochRow:
    """One finished epoch, in the order of the columns."""

    epoch: int = column("from 1", Kind.COUNT, required=True, rises=True)
    updates: int = column("optimizer steps since the start", Kind.COUNT, of_run=OfRun.LAST, required=True, rises=True)
    samples: int = column(
        "samples used since the start", Kind.COUNT, unit="samples", of_run=OfRun.LAST, required=True, rises=True
    )
    batch_size: int = column(
        "samples per update over all devices and accumulation steps, by the epoch's last decision",
        Kind.COUNT,
        unit="samples",
        required=True,
    )
    micro_batch_size: int = column("the largest micro-batch of such an update", Kind.COUNT, unit="samples")
    accumulation_steps: int = column("micro-batches per update and rank", Kind.COUNT)
    world_size: int = column("ranks", Kind.COUNT)
    learning_rate: float = column("of the epoch's last update")
    train_loss: float = column("mean over all samples used in the epoch, as they were seen")
    train_accuracy: float = column("mean over all samples used in the epoch, as they were seen", Kind.FRACTION)
    test_loss: float = column("mean over the test set after the epoch", of_run=OfRun.FINAL)
    test_accuracy: float = column("of the test set after the epoch", Kind.FRACTION, of_run=OfRun.FINAL, required=True)
    train_seconds: float = _seconds("data + forward + backward + update")
    data_seconds: float = _seconds("waiting for and preparing micro-batches")
    forward_seconds: float | None = _seconds("the network, the loss and the metrics; blank with CUDA graphs")
    backward_seconds: float | None = _seconds(
        "gradients; with several ranks also their averaging; blank with CUDA graphs"
    )
    update_seconds: float | None = _seconds("optimizer steps; blank with CUDA graphs")
    growth_seconds: float = _seconds("compiling and tuning for new micro-batch shapes, once a run")
    test_seconds: float = _seconds("testing, of validation samples too")
    elapsed_seconds: float = column(
        "training and growth since the start; speedups are ratios of it",
        Kind.SECONDS,
        unit="s",
        of_run=OfRun.LAST,
        required=True,
        rises=True,
    )
    test_top5_accuracy: float | None = column(
        "label among the top five predictions; from 100 classes on", Kind.FRACTION, of_run=OfRun.FINAL
    )
    samples_dropped: int = column(
        "of the epoch's last, partial batch under dataset.partial_batch=drop",
        Kind.COUNT,
        unit="samples",
        of_run=OfRun.SUM,
    )
    save_seconds: float = _seconds("writing rows and checkpoints; time after a row's numbers goes into the next row")
    validation_loss: float | None = column(
        "mean over the validation samples after the epoch", of_run=OfRun.FINAL, since="0.2.0", default=None
    )
    validation_accuracy: float | None = column(
        "of the validation samples after the epoch", Kind.FRACTION, of_run=OfRun.FINAL, since="0.2.0", default=None
    )
    device_seconds: float | None = column(
        "training and growth, times the ranks: what the epoch cost",
        Kind.SECONDS,
        unit="s",
        of_run=OfRun.SUM,
        since="0.2.0",
        default=None,
    )
    peak_memory_bytes: int | None = column(
        "the most memory of a GPU that training held at once, of the rank with most; blank on a CPU",
        Kind.BYTES,
        unit="B",
        of_run=OfRun.MAX,
        since="0.2.0",
        default=None,
    )


_FIELDS = {entry.name: entry for entry in dataclasses.fields(EpochRow)}
COLUMNS = tuple(_FIELDS)
#: The facts of each column, by name.
COLUMN_FACTS: dict[str, ColumnFacts] = {name: entry.metadata[_FACTS] for name, entry in _FIELDS.items()}
#: Like `dataclasses.astuple`, but without deep copies of all of a long run's rows at every write.
_values = operator.attrgetter(*COLUMNS)


def allowed_values(name: str) -> Range:
    """Return what a known value of a column may be, by its kind."""
    if name == "samples_dropped":
        return at_least(0)
    return _RANGES[COLUMN_FACTS[name].kind]


def is_whole(name: str) -> bool:
    """Return whether the known values of a column are whole numbers."""
    return COLUMN_FACTS[name].kind in (Kind.COUNT, Kind.BYTES)


def is_reproducible(name: str) -> bool:
    """Return whether a column is equal in two equal runs: seconds and memory need not be, whatever a run computes."""
    return name not in COLUMN_FACTS or COLUMN_FACTS[name].kind not in (Kind.SECONDS, Kind.BYTES)


def columns_where(
    *, kind: Kind | None = None, of_run: OfRun | None = None, required: bool = False, rises: bool = False
) -> tuple[str, ...]:
    """Return the columns that meet all given conditions, in order."""
    return tuple(
        name
        for name, facts in COLUMN_FACTS.items()
        if (kind is None or facts.kind is kind)
        and (of_run is None or facts.of_run is of_run)
        and (facts.required or not required)
        and (facts.rises or not rises)
    )


def train_seconds(seconds: Mapping[str, float]) -> float:
    """Return the training part of the seconds by span: data, forward, backward and update, in CUDA graphs or not."""
    return sum(seconds[span] for span in TRAIN_SPANS) + seconds.get(GRAPH_SPAN, 0.0)


def device_seconds(train: Any, growth: Any, num_ranks: Any) -> Any:
    """Return what epochs cost in seconds of one device: training and growth times the ranks, of numbers or arrays.

    A rank has its device to itself, whether it computes or waits for the others.
    """
    return (train + growth) * num_ranks


def span_seconds(seconds: Mapping[str, float], spans: Sequence[str] = EPOCH_SPANS) -> dict[str, float | None]:
    """Return the seconds of ``spans`` by column; None for what CUDA graphs hide."""
    hidden = _IN_A_GRAPH if seconds.get(GRAPH_SPAN) else ()
    return {f"{span}_seconds": None if span in hidden else seconds[span] for span in spans}


def largest_of_run(values: Iterable[float | None]) -> float | None:
    """Return the largest of the epochs' values; None if one of them is unknown, or there is none."""
    known = [math.nan if value is None else value for value in values]
    return max(known) if known and not any(map(math.isnan, known)) else None


def column_default(name: str) -> Any:
    """Return the value of a column in files that are older than the column.

    Raises:
        KeyError: for a column that all files have.
    """
    default = _FIELDS[name].default
    if default is _NO_DEFAULT:
        raise KeyError(name)
    return default


def write_epochs_csv(path: Path, rows: Iterable[EpochRow], own: Mapping[str, Sequence[float]] | None = None) -> None:
    """Replace ``epochs.csv`` by ``rows``, atomically; numbers read back equal.

    Args:
        own: further columns, which stand behind the known ones: a value for each row.
    """
    own = own or {}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *own])
    for number, row in enumerate(rows):
        writer.writerow([*_values(row), *(values[number] for values in own.values())])
    write_text_atomic(path, text.getvalue())


def read_epochs_csv(path: Path) -> tuple[list[EpochRow], dict[str, list[float]]]:
    """Return the rows of a file, and its further columns; nothing if there is no file. A blank value reads as NaN.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        lines = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    except FileNotFoundError:
        return [], {}
    except csv.Error as error:
        raise ValueError(f"{path.name} is no CSV: {error}") from error
    values = [{name: _number(name, text) for name, text in line.items()} for line in lines]
    names = [name for name in (values[0] if values else {}) if name not in COLUMN_FACTS]
    try:
        return [row_from_dict(line) for line in values], {name: [line[name] for line in values] for name in names}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path.name} lacks a value of {error}") from error


def count_rows(path: Path) -> int:
    """Return how many epochs a file says are finished; 0 if it is missing or damaged."""
    try:
        return len(read_epochs_csv(path)[0])
    except (OSError, Unreadable, ValueError):
        return 0


def _number(name: str, text: str | None) -> Any:
    if text is None:
        return None
    if text in ("", "nan"):
        return math.nan
    return int(text) if name in COLUMN_FACTS and is_whole(name) else float(text)


def row_to_dict(row: EpochRow) -> dict[str, Any]:
    """Return a row as plain values by column."""
    return dict(zip(COLUMNS, _values(row), strict=True))


def row_from_dict(values: Mapping[str, Any]) -> EpochRow:
    """Rebuild a row from what `row_to_dict` returned in this or another version; newer columns get their default.

    Raises:
        KeyError: if a column that every version has is missing.
    """
    return EpochRow(**{name: values[name] if name in values else column_default(name) for name in COLUMNS})
