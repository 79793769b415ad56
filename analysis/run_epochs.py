"""Reads ``epochs.csv`` of many runs at once, and checks that the numbers can be right.

A file is parsed together with others that have the same header, because the parser's fixed costs are larger than those
of a run's rows. Where anything is wrong with some files together, each half of them is tried, and so on, until a file
is alone and its damage can be named. So the rules are the same for one file and for many.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from adabatch.reading import Unreadable, read_bytes, reason
from adabatch.rundir.columns import (
    COLUMN_FACTS,
    COLUMNS,
    FIRST_VERSION,
    TRAIN_SPANS,
    Kind,
    column_default,
    columns_where,
    device_seconds,
    is_whole,
)

#: Place of each column in the rows of a run.
PLACE = {name: place for place, name in enumerate(COLUMNS)}
#: Of a run without a finished epoch; nobody changes a run's rows.
NO_ROWS = np.empty((len(COLUMNS), 0))
#: Exceptions that malformed values raise.
MALFORMED = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)
_REQUIRED = columns_where(required=True)
_COUNTS = columns_where(kind=Kind.COUNT)
_RISING = tuple(name for name in columns_where(rises=True) if name != "epoch")
#: Spans are rounded where logs of other trainers are, and clocks are read one after another.
_ROUNDING, _CLOCK_SECONDS = 0.01, 1e-3
_COMMA, _NEWLINE = b",\n"


class Damage(Exception):
    """A file of a run directory cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Origin:
    """What a run's other files say about its epochs.

    Attributes:
        is_results_only: whether only the last epoch is known.
        is_ours: whether this trainer made the run, so that its spans add up.
        keeps_partial_batch: whether every epoch has all samples.
    """

    is_results_only: bool = False
    is_ours: bool = True
    keeps_partial_batch: bool = False


@dataclass(frozen=True)
class RunEpochs:
    """The finished epochs of a run.

    Attributes:
        rows: numbers by column (of `adabatch.rundir.columns.COLUMNS`) and epoch; NaN where there is none.
        damage: what is wrong with the file; None if nothing.
        others: columns that this version does not know; None if there are none.
    """

    rows: np.ndarray
    damage: str | None = None
    others: pd.DataFrame | None = None


def read_epochs(files: Sequence[Path], origins: Sequence[Origin]) -> list[RunEpochs]:
    """Read the finished rows of each ``epochs.csv``; never fails for what is in them.

    A file that does not exist has no rows. A last line without its end is still being written and is left out.
    """
    found: dict[int, RunEpochs] = {}
    contents: dict[int, bytes] = {}
    alike: dict[bytes, list[int]] = {}
    for place, file in enumerate(files):
        try:
            content = contents[place] = read_bytes(file)
        except FileNotFoundError:
            found[place] = RunEpochs(NO_ROWS)
        except (OSError, Unreadable) as error:
            found[place] = RunEpochs(NO_ROWS, f"epochs.csv cannot be read: {reason(error)}")
        else:
            header = content[: content.find(b"\n") + 1]
            is_plain = _is_plain(content, header) and not origins[place].is_results_only
            alike.setdefault(header if is_plain else b"%d" % place, []).append(place)
    for places in alike.values():
        together = _read_together([contents[place] for place in places], [origins[place] for place in places])
        found |= zip(places, together, strict=True)
    return [found[place] for place in range(len(files))]


def _is_plain(content: bytes, header: bytes) -> bool:
    """Return whether newlines and commas alone tell the cells of a file apart, and all of its columns are known."""
    is_ascii = content.isascii() and b'"' not in content and b"\r" not in content
    return is_ascii and PLACE.keys() >= set(header.decode().rstrip("\n").split(","))


def _read_together(contents: Sequence[bytes], origins: Sequence[Origin]) -> list[RunEpochs]:
    """Read files; if there are several, they are plain and have the same header."""
    try:
        rows, starts, others = _parse(contents)
        if rows.shape[1]:
            check_rows(rows, starts, origins[0].is_results_only)
    except (Damage, *MALFORMED) as error:
        if len(contents) > 1:
            return _read_halves(contents, origins)
        text = str(error) if isinstance(error, Damage) else f"epochs.csv cannot be used: {error}"
        return [RunEpochs(NO_ROWS, text)]
    try:
        if rows.shape[1]:
            _check_consistency(rows, starts, origins)
    except Damage as damage:
        return _read_halves(contents, origins) if len(contents) > 1 else [RunEpochs(rows, str(damage), others)]
    return [RunEpochs(part, None, others) for part in np.split(rows, starts[1:], axis=1)]


def _read_halves(contents: Sequence[bytes], origins: Sequence[Origin]) -> list[RunEpochs]:
    middle = len(contents) // 2
    halves = (slice(0, middle), slice(middle, None))
    return [one for half in halves for one in _read_together(contents[half], origins[half])]


def _parse(contents: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray, pd.DataFrame | None]:
    """Return the rows of all files, where those of each file begin, and columns that only a file read alone can have.

    Raises:
        Damage: if a file cannot be read, or is read otherwise together than alone.
    """
    if len(contents) == 1:
        frame = _read_csv(io.StringIO(_whole_lines(_decoded(contents[0]))))
        others = frame.drop(columns=list(COLUMNS)) if len(frame) and frame.shape[1] > len(COLUMNS) else None
        return _numbers(frame), np.array([0]), others
    header_length = contents[0].find(b"\n") + 1
    bodies = [content[header_length : content.rfind(b"\n") + 1] for content in contents]
    joined = b"".join(bodies)
    lengths = np.array([body.count(b"\n") for body in bodies])
    # A file without a row is read alone: what follows divides the rows of all files at those where each begins.
    if not lengths.all() or not _is_grid(joined, contents[0].count(b",", 0, header_length) + 1):
        raise Damage("epochs.csv: these files must be read one by one")
    frame = _read_csv(io.BytesIO(contents[0][:header_length] + joined))
    if len(frame) != lengths.sum():
        raise Damage("epochs.csv: these files must be read one by one")
    return _numbers(frame), np.cumsum(lengths) - lengths, None


def _decoded(content: bytes) -> str:
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()
    except UnicodeDecodeError as error:
        raise Damage(f"epochs.csv cannot be read: {error}") from error


def _whole_lines(text: str) -> str:
    return text[: text.rfind("\n") + 1]


def _is_grid(lines: bytes, num_columns: int) -> bool:
    """Return whether every line has so many cells."""
    characters = np.frombuffer(lines, dtype=np.uint8)
    ends = characters[(characters == _COMMA) | (characters == _NEWLINE)]
    if len(ends) % num_columns:
        return False
    table = ends.reshape(-1, num_columns)
    return bool((table[:, :-1] == _COMMA).all() and (table[:, -1] == _NEWLINE).all())


def _read_csv(file: io.StringIO | io.BytesIO) -> pd.DataFrame:
    """Return the cells with all of `COLUMNS`, in their order."""
    try:
        frame = pd.read_csv(file, low_memory=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise Damage(f"epochs.csv cannot be read: {error}") from error
    missing = [name for name in _REQUIRED if name not in frame]
    if missing:
        raise Damage(f"epochs.csv lacks the columns {', '.join(missing)}")
    return frame if list(frame) == list(COLUMNS) else _with_all_columns(frame)


def _with_all_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Return cells with the columns that files from before them lack, and columns of others after them."""
    newer = [name for name in COLUMNS if name not in frame and COLUMN_FACTS[name].since != FIRST_VERSION]
    defaults = {name: math.nan if column_default(name) is None else column_default(name) for name in newer}
    return frame.assign(**defaults).reindex(columns=list(dict.fromkeys([*COLUMNS, *frame.columns])))


def _numbers(frame: pd.DataFrame) -> np.ndarray:
    if not len(frame):
        return NO_ROWS
    kinds = {str(name): dtype.kind for name, dtype in frame.dtypes.items()}
    for name in COLUMNS:
        if kinds[name] not in "iuf":
            raise Damage(f"epochs.csv holds a value of {name} that is no number")
    numbers = np.ascontiguousarray(frame[list(COLUMNS)].to_numpy(dtype=float).T)
    known = numbers[PLACE["device_seconds"]]
    train, growth, ranks = (numbers[PLACE[name]] for name in ("train_seconds", "growth_seconds", "world_size"))
    # Files from before the column, and those of other programs, say it by these.
    numbers[PLACE["device_seconds"]] = np.where(np.isnan(known), device_seconds(train, growth, ranks), known)
    return numbers


def check_rows(rows: np.ndarray, starts: np.ndarray, is_results_only: bool = False) -> None:
    """Check each number by what its column is; a blank one is unknown.

    Args:
        rows: see `RunEpochs`, of one or several runs, one after another.
        starts: where the rows of each run begin; each has one at least.
        is_results_only: whether they are those of one run of which only the end is known.

    Raises:
        Damage: for a value that cannot be; where there are several runs, it need not say whose.
    """
    values = dict(zip(COLUMNS, rows, strict=True))
    for name in COLUMNS:
        _check_values(name, values[name])
    _check_epochs(values["epoch"], starts, is_results_only)
    for name in _RISING:
        rising = values[name]
        if is_results_only and name != "elapsed_seconds" and np.isnan(rising[0]):
            continue
        if not (rising > _before(rising, starts)).all():
            raise Damage(f"epochs.csv: {name} does not rise from epoch to epoch")
    if np.isnan(values["test_accuracy"]).any():
        raise Damage("epochs.csv lacks a value of test_accuracy in a row")
    for name in _COUNTS:
        is_blank = np.isnan(values[name])
        if is_blank.any() and not np.array_equal(
            np.logical_or.reduceat(is_blank, starts), np.logical_and.reduceat(is_blank, starts)
        ):
            raise Damage(f"epochs.csv lacks a value of {name} in a row")


def _check_values(name: str, values: np.ndarray) -> None:
    """Raise Damage for values that are none of the column's kind."""
    known = values[~np.isnan(values)]
    kind = COLUMN_FACTS[name].kind
    if kind is Kind.FRACTION and not ((known >= 0) & (known <= 1)).all():
        raise Damage(f"epochs.csv holds a value of {name} that is no fraction between 0 and 1")
    if kind is Kind.SECONDS and not ((known >= 0) & np.isfinite(known)).all():
        raise Damage(f"epochs.csv holds a value of {name} that is negative or infinite")
    least = 0 if name == "samples_dropped" else 1
    if is_whole(name) and not ((known >= least) & (known == np.floor(known)) & np.isfinite(known)).all():
        raise Damage(f"epochs.csv holds a value of {name} that is not a whole number of at least {least}")


def _check_epochs(epochs: np.ndarray, starts: np.ndarray, is_results_only: bool) -> None:
    shown = [int(epoch) if epoch == epoch else epoch for epoch in epochs[:20].tolist()]
    if is_results_only:
        if not (len(epochs) == 1 and epochs[0] >= 1):
            raise Damage(f"epochs.csv holds the epochs {shown}, not the last one alone")
    elif not np.array_equal(epochs, _before(epochs, starts) + 1):
        raise Damage(f"epochs.csv counts the epochs {shown}, not 1, 2, 3, ...")


def _before(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the value of each row's previous epoch; 0 for the first."""
    before = np.empty_like(values)
    before[1:] = values[:-1]
    before[starts] = 0.0
    return before


def _check_consistency(rows: np.ndarray, starts: np.ndarray, origins: Sequence[Origin]) -> None:
    """Raise Damage where columns contradict each other: spans and elapsed time, samples and batches."""
    values = dict(zip(COLUMNS, rows, strict=True))
    lengths = np.diff(starts, append=rows.shape[1])
    elapsed = values["elapsed_seconds"] - _before(values["elapsed_seconds"], starts)
    spans = np.stack([values[f"{span}_seconds"] for span in TRAIN_SPANS])
    charged = np.nansum(spans, axis=0) + np.nan_to_num(values["growth_seconds"])
    if (charged > elapsed * (1 + _ROUNDING) + _CLOCK_SECONDS).any():
        raise Damage("epochs.csv: training and growth spans exceed the elapsed time of their epoch")
    adds_up = np.array([origin.is_ours for origin in origins])
    adds_up &= ~np.logical_or.reduceat(np.isnan(spans).any(axis=0), starts)
    if (np.repeat(adds_up, lengths) & (elapsed > charged * (1 + _ROUNDING) + _CLOCK_SECONDS)).any():
        raise Damage("epochs.csv: the elapsed time of an epoch exceeds its training and growth spans")
    samples = values["samples"] - _before(values["samples"], starts)
    least, most = np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)
    keeps = np.array([origin.keeps_partial_batch for origin in origins])
    allowed = np.where(keeps, 0.0, np.maximum.reduceat(values["batch_size"], starts))
    if (most - least > allowed).any():
        raise Damage(
            f"epochs.csv: the samples per epoch are between {least[0]:.0f} and {most[0]:.0f}; "
            f"they may differ by {allowed[0]:.0f}"
        )
