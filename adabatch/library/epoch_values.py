"""The numbers of a recorded epoch: which there are, and what they may be."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from adabatch.config.keys import suggestion
from adabatch.errors import ConfigError, NonFiniteLoss
from adabatch.fields import Range, require
from adabatch.rundir.columns import COLUMNS, EpochRow, allowed_values
from adabatch.rundir.columns import is_whole as is_whole_column

_NAME = re.compile(r"[A-Za-z]\w*")
#: Columns of the frames that say whose row it is.
_IDENTITY = ("run", "sweep", "cell", "arm", "seed")
_LOSSES = ("train_loss", "test_loss")
_OWN: dict[type, Range] = {
    float: Range("a finite number", math.isfinite),
    int: Range("a whole number", lambda value: isinstance(value, int)),
}


def check_columns(columns: Mapping[str, type]) -> dict[str, type]:
    """Return the program's own columns; by name, float or int.

    Raises:
        ConfigError: for a name that cannot be a column or is one already, or another type.
    """
    require(isinstance(columns, Mapping), "columns", columns, "a mapping from names to float or int")
    for name, kind in columns.items():
        is_free = bool(_NAME.fullmatch(name)) and name not in (*COLUMNS, *_IDENTITY)
        require(is_free, "columns' name", name, "a word of letters, digits and _ that is no column of every run")
        require(kind in _OWN, f"columns' {name}", getattr(kind, "__name__", kind), "float or int")
    return dict(columns)


def check_values(epoch: int, given: Mapping[str, Any], own: Mapping[str, type]) -> dict[str, Any]:
    """Return the numbers given for an epoch as plain ones.

    Raises:
        ConfigError: for an unknown column, a missing one, or a value out of range.
        NonFiniteLoss: if a loss is NaN or infinite, which ends a run as it does in our own trainer.
    """
    known = [name for name in COLUMNS if name != "epoch"]
    for name in given:
        if name not in known and name not in own:
            raise ConfigError(
                f"epoch {epoch} has a value of {name}; it must be declared by columns={{{name!r}: float}}."
                f"{suggestion(name, [*known, *own])}"
            )
    for name in ("test_accuracy", *own):
        if given.get(name) is None:
            raise ConfigError(f"epoch {epoch} lacks {name}; run.epoch({name}=...) must have it in every epoch.")
    values = {name: _plain(name, value) for name, value in given.items() if value is not None}
    for name in _LOSSES:
        if name in values and isinstance(values[name], float) and not math.isfinite(values[name]):
            kind = "training" if name == "train_loss" else "test"
            raise NonFiniteLoss(f"the {kind} loss became NaN or infinite in epoch {epoch}")
    for name, value in values.items():
        allowed = _OWN[own[name]] if name in own else allowed_values(name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        require(is_number and allowed.allows(value), name, value, allowed.text)
    return values


def _plain(name: str, value: Any) -> Any:
    """Return a number of numpy or torch as one of Python."""
    plain = value.item() if hasattr(value, "item") else value
    is_whole = name in COLUMNS and is_whole_column(name) and isinstance(plain, float) and plain.is_integer()
    return int(plain) if is_whole else plain


def make_row(values: Mapping[str, Any]) -> EpochRow:
    """Return a row; what is not known is NaN."""
    return EpochRow(**{entry.name: values.get(entry.name, math.nan) for entry in fields(EpochRow)})


def known_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with None for NaN."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
