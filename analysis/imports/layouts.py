"""Files of known trainers: by which columns each is recognised, and what its columns are called here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from adabatch.errors import ConfigError
from analysis.imports.names import PLAIN, UNITS, Unit
from analysis.imports.options import Options
from analysis.imports.table import Table
from analysis.imports.text import parse_decimal

#: Hugging Face divides the step by the steps of an epoch, which gradient accumulation does not always hit.
_EPOCH_ROUNDING = 0.02
_WANDB_COLUMN = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<extreme>__MIN|__MAX)?")
#: The axes of wandb's charts.
_WANDB_AXES = ("epoch", "Step", "_step")


@dataclass(frozen=True)
class Layout:
    """What is known of a trainer's file.

    Attributes:
        title: for people.
        recognise: whether columns are this layout's.
        columns: our name by theirs, in the order in which they are preferred, and the unit.
        last: our names of which an epoch's last row counts.
        per_step: our names that are unknown where the rows of an epoch differ: means of part of it.
        reshape: brings the rows into the form of one row a run and epoch, or part of one.
    """

    title: str
    recognise: Callable[[set[str]], bool]
    columns: Mapping[str, tuple[str, Unit]]
    last: frozenset[str] = frozenset()
    per_step: frozenset[str] = frozenset()
    reshape: Callable[[Table, Options], Table] = field(default=lambda table, options: table)


def find_layout(columns: set[str]) -> Layout | None:
    """Return the layout of a file; None for one with our names, or of no trainer that is known."""
    if columns & {"test_accuracy", "updates"}:
        return None
    return next((layout for layout in LAYOUTS if layout.recognise(columns)), None)


def _lightning(columns: set[str]) -> bool:
    return {"epoch", "step"} <= columns and any(re.match(r"(train|val|test|lr-)", name) for name in columns)


def _with_epochs(table: Table, options: Options) -> Table:
    """Give the rows of Lightning's LearningRateMonitor, which have a step only, the epoch of that step."""
    cells = table.cells.copy()
    rates = [str(name) for name in cells if str(name).startswith("lr-")]
    if len(rates) > 1:
        if not set(rates) & set(options.maps):
            raise ConfigError(f"{table.path} has {' and '.join(rates)}; --map must say which is learning_rate.")
    elif rates:
        cells = cells.rename(columns={rates[0]: "lr"})
    known = cells[(cells.epoch != "") & (cells.step != "")]
    ends = {epoch: max(map(_number, steps)) for epoch, steps in known.groupby("epoch", sort=False).step}
    for line in cells.index[(cells.epoch == "") & (cells.step != "")]:
        step = _number(cells.step[line])
        later = [(end, epoch) for epoch, end in ends.items() if end >= step]
        if later:
            cells.loc[line, "epoch"] = min(later)[1]
            # The step of the last update is that of the epoch's own rows.
            cells.loc[line, "step"] = ""
    return replace(table, cells=cells[cells.epoch != ""])


def _number(text: str) -> float:
    try:
        return float(parse_decimal(text))
    except ValueError:
        return math.nan


def _whole_epochs(table: Table, options: Options) -> Table:
    """Give each entry of Hugging Face's history, whose epochs are fractions, the epoch that it is part of."""
    cells = table.cells.copy()
    if "epoch" in cells:
        numbers = [_number(text) for text in cells.epoch]
        cells["epoch"] = ["" if math.isnan(number) else str(math.ceil(number - _EPOCH_ROUNDING)) for number in numbers]
    # The last entry sums the training up.
    is_summary = cells["train_runtime"] != "" if "train_runtime" in cells else pd.Series(False, index=cells.index)
    declared = {name: text for name, text in table.declared.items() if _number(text).is_integer()}
    cells = cells[~is_summary & (cells.epoch != "")]
    return replace(table, cells=cells.loc[:, (cells != "").any()], declared=declared)


def _wandb(columns: set[str]) -> bool:
    found = [_WANDB_COLUMN.fullmatch(name) for name in columns]
    return any(match and not match["extreme"] for match in found) and bool(columns & set(_WANDB_AXES))


def _one_run_a_row(table: Table, options: Options) -> Table:
    """Turn a chart's columns ``RUN - METRIC`` into rows of runs with the metrics as columns."""
    axis = next(name for name in _WANDB_AXES if name in table.cells)
    runs: dict[str, dict[str, pd.Series]] = {}
    for name in map(str, table.cells):
        match = _WANDB_COLUMN.fullmatch(name)
        if match and not match["extreme"] and match["metric"] != "_step":
            runs.setdefault(match["run"], {})[match["metric"]] = table.cells[name]
    if options.names is None:
        raise ConfigError(
            f"{table.path} (wandb's CSV export) names its runs {', '.join(list(runs)[:5])}; --names must say what the "
            f"parts of these names are, such as --names '{{arm}}_s{{seed}}'."
        )
    parts = []
    for run, metrics in runs.items():
        rows = pd.DataFrame({"epoch": table.cells[axis], **metrics}).assign(**options.names.read(run))
        parts.append(rows[(rows[list(metrics)] != "").any(axis=1)])
    return replace(table, cells=pd.concat(parts).fillna(""))


def _columns(*entries: tuple[str, str] | tuple[str, str, str]) -> dict[str, tuple[str, Unit]]:
    """Return ours and its unit by theirs, from tuples of ours, theirs separated by spaces, and perhaps a unit."""
    found: dict[str, tuple[str, Unit]] = {}
    for ours, theirs, *unit in entries:
        found |= dict.fromkeys(theirs.split(), (ours, UNITS[unit[0]] if unit else PLAIN))
    return found


LAYOUTS: tuple[Layout, ...] = (
    Layout("wandb's CSV export", _wandb, {}, reshape=_one_run_a_row),
    Layout(
        "timm's summary.csv",
        lambda columns: {"epoch", "train_loss", "eval_top1"} <= columns,
        _columns(
            ("test_accuracy", "eval_top1", "percent"),
            ("test_top5_accuracy", "eval_top5", "percent"),
            ("test_loss", "eval_loss"),
            ("learning_rate", "lr"),
        ),
    ),
    Layout(
        "Hugging Face's trainer_state.json",
        lambda columns: {"epoch", "step"} <= columns and bool(columns & {"eval_loss", "eval_runtime", "loss"}),
        _columns(
            ("updates", "step"),
            ("train_loss", "loss"),
            ("test_accuracy", "eval_accuracy"),
            ("test_loss", "eval_loss"),
            ("test_seconds", "eval_runtime"),
        ),
        last=frozenset({"updates", "learning_rate"}),
        per_step=frozenset({"train_loss"}),
        reshape=_whole_epochs,
    ),
    Layout(
        "Lightning's CSVLogger",
        _lightning,
        _columns(
            ("updates", "step", "from_zero"),
            ("train_loss", "train_loss_epoch"),
            ("train_accuracy", "train_acc_epoch train_acc train_accuracy_epoch"),
            ("test_accuracy", "val_acc val_accuracy val_acc_epoch val_accuracy_epoch"),
            ("test_loss", "val_loss val_loss_epoch"),
            ("learning_rate", "lr"),
        ),
        last=frozenset({"updates", "learning_rate"}),
        per_step=frozenset({"train_loss", "train_accuracy"}),
        reshape=_with_epochs,
    ),
    Layout(
        "Keras' CSVLogger",
        lambda columns: {"epoch", "loss"} <= columns,
        _columns(
            ("train_accuracy", "accuracy acc sparse_categorical_accuracy categorical_accuracy binary_accuracy"),
            ("train_loss", "loss"),
            (
                "test_accuracy",
                "val_accuracy val_acc val_sparse_categorical_accuracy val_categorical_accuracy val_binary_accuracy",
            ),
            ("test_loss", "val_loss"),
            ("learning_rate", "lr"),
        ),
    ),
)
