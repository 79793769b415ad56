"""Numbers of an arm that depend on the device: they are series of their own by device, and with and without graphs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

GRAPHS, NO_GRAPHS = "CUDA graphs", "no CUDA graphs"
UNKNOWN_DEVICE = "device unknown"
#: What identifies a series: an arm's name, the model of a device, and `GRAPHS`, `NO_GRAPHS` or nothing where unknown.
SERIES = ["arm", "device", "graphs"]
#: By whether a run replays CUDA graphs.
GRAPHS_WORDS: Mapping[object, str] = {True: GRAPHS, False: NO_GRAPHS}


def series_of(runs: pd.DataFrame, names: pd.Series) -> pd.DataFrame:
    """Return the columns of `SERIES` for rows that belong to runs.

    Args:
        runs: of `analysis.frames.Data`.
        names: of runs, by row.
    """
    facts = runs[["arm", "device_model", "cuda_graphs"]].reindex(names)
    columns = [facts.arm, facts.device_model.fillna(UNKNOWN_DEVICE), facts.cuda_graphs.map(_graphs)]
    return pd.DataFrame({name: column.to_numpy() for name, column in zip(SERIES, columns, strict=True)})


def _graphs(fact: object) -> str:
    """Return whether a run replayed CUDA graphs, by its fact: "yes", or "no" with a reason."""
    if not isinstance(fact, str):
        return ""
    return GRAPHS if fact == "yes" else NO_GRAPHS


def suffixes(row: Any, has_devices: bool, has_graphs: bool) -> list[str]:
    """Return what tells a series from those of other devices, and from those with or without graphs."""
    return [text for text, is_told in ((row.device, has_devices), (row.graphs, has_graphs)) if is_told and text]
