"""What a page carries within itself: files, compressed and as text."""

from __future__ import annotations

import base64
import gzip
import io

import pandas as pd

from adabatch.reading import printable

_ROWS_AT_ONCE = 5000
_FORMULA_STARTS = ("=", "+", "-", "@")


def packed(content: bytes) -> str:
    """Return content compressed (gzip) and as base64; equal content gives an equal text."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def for_spreadsheets(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose texts a spreadsheet takes for texts: none begins like a formula."""
    texts = [name for name, dtype in frame.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)]
    return frame.assign(**{str(name): frame[name].astype(object).map(_as_text) for name in texts})


def _as_text(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def packed_csv(frame: pd.DataFrame, most_characters: int | None = None) -> str | None:
    """Return a frame as `packed` CSV, each number as short as reads back equal.

    Args:
        most_characters: a frame that would be more is None; the rest of it is then not even written.
    """
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", mtime=0) as file:
        for start in range(0, max(1, len(frame)), _ROWS_AT_ONCE):
            rows = for_spreadsheets(frame.iloc[start : start + _ROWS_AT_ONCE])
            file.write(rows.to_csv(index=False, header=start == 0, lineterminator="\n").encode())
            if most_characters is not None and target.tell() * 4 / 3 > most_characters:
                return None
    text = base64.b64encode(target.getvalue()).decode()
    return text if most_characters is None or len(text) <= most_characters else None
