"""The dashboard's filters: by what runs can be narrowed, the controls for that, and the runs that a choice leaves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from dash import dcc, html

from analysis.dashboard_runs import aria_words, key_words
from analysis.frames import Data
from analysis.names import cell_and_levels, plain_arm, short_keys
from analysis.order import arm_names, ordered_values

#: Columns of ``runs`` and what they are called; to these come the swept keys.
_COLUMNS = {"dataset": "data set", "network": "network", "arm": "arm"}


@dataclass(frozen=True)
class Filter:
    """One thing by which runs can be narrowed.

    Attributes:
        key: a column of ``runs``, or a swept key such as ``optimizer.weight_decay``.
        word: what it is called.
        values: that can be chosen, in their order.
    """

    key: str
    word: str
    values: tuple[str, ...]


def filters_of(data: Data, chosen: Mapping[str, Sequence[str]]) -> list[Filter]:
    """Return those by which runs differ, or which are chosen; values that no run has can be taken back."""
    keys = _swept_keys(data.runs)
    short = short_keys(keys)
    words = {**{key: key_words(short[key]) for key in keys}, **_COLUMNS}
    found = []
    for key in dict.fromkeys([*_COLUMNS, *keys]):
        values = dict.fromkeys([*_ordered(data, key), *chosen.get(key, ())])
        if len(values) > 1 or chosen.get(key):
            found.append(Filter(key, words[key], tuple(values)))
    return found


def filtered(data: Data, chosen: Mapping[str, Sequence[str]]) -> Data:
    """Return the runs that have one of the chosen values of each key; an empty choice leaves all."""
    runs = data.runs
    for key in {*_COLUMNS, *_swept_keys(runs)} & {key for key, values in chosen.items() if values}:
        runs = runs[_values(runs, key).isin(list(chosen[key]))]
    return data if len(runs) == len(data.runs) else data.select_runs(set(runs.index))


def _swept_keys(runs: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(key for group in runs.group.unique() for key in cell_and_levels(str(group))[1]))


def _values(runs: pd.DataFrame, key: str) -> pd.Series:
    """Return by run its value of a key; an arm is one arm, whatever is swept."""
    if key == "arm":
        found: pd.Series = runs.arm.map(plain_arm)
    elif key in _COLUMNS:
        found = runs[key]
    else:
        found = runs.group.map({group: cell_and_levels(str(group))[1].get(key) for group in runs.group.unique()})
    return found


def _ordered(data: Data, key: str) -> list[str]:
    if key == "arm":
        return arm_names(data)
    return ordered_values(map(str, _values(data.runs, key).dropna().unique()))


def controls(offered: Sequence[Filter], chosen: Mapping[str, Sequence[str]]) -> list[html.Div]:
    """Return a list to choose from for each filter. The page's script knows their ids."""
    return [
        labelled(
            one.word,
            {"filter": one.key},
            options=list(one.values),
            value=list(chosen.get(one.key, ())),
            multi=True,
            placeholder="all",
        )
        for one in offered
    ]


def labelled(word: str, name: str | dict[str, str], **options: Any) -> html.Div:
    """Return a list to choose from, with a word beside it.

    Args:
        name: its id.
        options: of ``dcc.Dropdown``.
    """
    spelled = name if isinstance(name, str) else json.dumps(name, separators=(",", ":"))
    content = [html.Label(word, htmlFor=spelled), dcc.Dropdown(id=name, optionHeight="auto", **options)]
    # Dash's own button is called by its value only.
    return html.Div(content, className="filter", role="group", **aria_words(label=word))
