"""Texts without the paths of the machine on which they were made."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from pathlib import PurePath

import pandas as pd

from analysis.table import without_folders

#: Of a run's folder: sweep, cell, arm, seed.
_PARTS = 4


class Shortener:
    """Makes paths of runs relative to the folder that holds them all; of other absolute paths the last part stays."""

    def __init__(self, runs: Iterable[str]) -> None:
        """Find what the runs' folders have in common; sweep, cell, arm and seed stay, which are its last four parts."""
        folders = [PurePath(run).parts for run in runs]
        shared = len(list(takewhile(lambda parts: len(set(parts)) == 1, zip(*folders, strict=False))))
        count = min([shared, *(len(parts) - _PARTS for parts in folders)])
        self._head = f"{PurePath(*folders[0][:count])}/" if folders and count > 1 else ""
        self._known: dict[str, str] = {}

    def text(self, text: str) -> str:
        """Return a text with short paths."""
        if text not in self._known:
            short = text.replace(self._head, "") if self._head else text
            self._known[text] = without_folders(short) if "/" in short else short
        return self._known[text]

    def frame(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a frame whose texts have short paths."""
        short = frame.copy()
        for name, dtype in frame.dtypes.items():
            if not pd.api.types.is_numeric_dtype(dtype):
                texts = [self._cell(value) for value in frame[name]]
                short[name] = pd.Series(texts, index=frame.index, dtype=object)
        return short

    def _cell(self, value: object) -> object:
        return self.text(value) if isinstance(value, str) else value
