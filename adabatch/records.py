"""The numbers of a run: rows of ``epochs.csv`` and the final ``summary.json``."""

from __future__ import annotations

import csv
import dataclasses
import io
import operator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.run_dir import write_text_atomic
from adabatch.stopwatch import TRAIN_SPANS, train_seconds


@dataclass(slots=True)
class EpochRow:
    """One finished epoch, in the order of the columns of ``epochs.csv``.

    ``updates``, ``samples`` and ``elapsed_seconds`` are cumulative; every other count and all other seconds are
    this epoch's. Batch size, micro-batch and learning rate are those of the epoch's last decision. Losses are means
    over all samples, accuracies fractions. ``test_top5_accuracy`` is None with fewer than 100 classes.
    """

    epoch: int
    updates: int
    samples: int
    batch_size: int
    micro_batch_size: int
    accumulation_steps: int
    world_size: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    train_seconds: float
    data_seconds: float
    forward_seconds: float
    backward_seconds: float
    update_seconds: float
    growth_seconds: float
    test_seconds: float
    elapsed_seconds: float
    test_top5_accuracy: float | None
    samples_dropped: int
    save_seconds: float


COLUMNS = tuple(field.name for field in dataclasses.fields(EpochRow))
SECONDS_COLUMNS = tuple(name for name in COLUMNS if name.endswith("_seconds"))
#: As `dataclasses.astuple`, but without its deep copies, which would cost a long run's every row at every writing.
_values = operator.attrgetter(*COLUMNS)


def write_epochs_csv(path: Path, rows: list[EpochRow]) -> None:
    """Replace ``epochs.csv`` by ``rows``, atomically; numbers are written so that they read back equal."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(_values(row))
    write_text_atomic(path, text.getvalue())


def row_to_dict(row: EpochRow) -> dict[str, Any]:
    """Return a row as plain values by column."""
    return dict(zip(COLUMNS, _values(row), strict=True))


def rows_to_state(rows: list[EpochRow]) -> list[dict[str, Any]]:
    """Return rows as plain values, for a checkpoint."""
    return [row_to_dict(row) for row in rows]


def rows_from_state(state: list[dict[str, Any]]) -> list[EpochRow]:
    """Take back what `rows_to_state` returned."""
    return [EpochRow(**values) for values in state]


def summarize(rows: list[EpochRow], seconds: dict[str, float]) -> dict[str, Any]:
    """Return the summary's part that follows from the finished epochs and the stopwatch's seconds of the whole run.

    A run without a finished epoch has None for what was not measured.
    """
    last = rows[-1] if rows else None
    best = max(rows, key=lambda row: row.test_accuracy, default=None)
    final = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "test_top5_accuracy")
    training = train_seconds(seconds)
    return {
        "epochs": len(rows),
        "updates": last.updates if last else 0,
        "samples": last.samples if last else 0,
        "samples_dropped": sum(row.samples_dropped for row in rows),
        **{name: getattr(last, name) if last else None for name in final},
        "best_test_accuracy": best.test_accuracy if best else None,
        "best_epoch": best.epoch if best else None,
        "train_seconds": training,
        **{f"{span}_seconds": seconds[span] for span in (*TRAIN_SPANS, "growth", "test", "save", "setup")},
        "elapsed_seconds": training + seconds["growth"],
    }
