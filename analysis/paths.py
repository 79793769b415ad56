"""Texts without the paths of the machine on which they were made."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

import pandas as pd

from analysis.table import without_folders


class Shortener:
    """Makes paths of runs relative to the folder that holds them all; of other absolute paths the last part stays."""

    def __init__(self, runs: Iterable[str]) -> None:
        """Find what the runs' folders have in common; its last part stays, since it is the name of the sweep."""
        folders = [PurePath(run) for run in runs]
        common = _common(folders)
        self._head = "" if common is None or not common.parent.name else f"{common.parent}/"
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


def _common(folders: list[PurePath]) -> PurePath | None:
    """Return the deepest folder above all runs."""
    if not folders:
        return None
    shared = folders[0].parent
    for folder in folders[1:]:
        while shared not in folder.parents and shared != shared.parent:
            shared = shared.parent
    return shared
