"""Which cells of a table speak for an arm, and which against it; every output has colours for them."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.table import Table, has_words

GOOD, BAD = "good", "bad"
_FOR = ("better", "equivalent", "not worse", "faster", "sooner", "reproduced")
#: Holm's correction takes back what a comparison says on its own.
_UNDECIDED_TOGETHER = "with Holm: undecided"
_AGAINST = ("worse", "slower", "later", "not reached", "failed", "damaged", "contradicted")


def tones(table: Table, row: Sequence[str]) -> list[str]:
    """Return `GOOD`, `BAD` or an empty text for each cell of a row.

    A speedup beside a quality that is not known to be no worse has a mark; no verdict in its row speaks for the arm.
    """
    is_marked = any(column == "speedup" and has_words(cell) for column, cell in zip(table.columns, row, strict=True))
    return ["" if is_marked and tone == GOOD else tone for tone in map(_tone, row)]


def _tone(cell: str) -> str:
    if _UNDECIDED_TOGETHER in cell:
        return ""
    if cell.startswith(_AGAINST):
        return BAD
    has_mark = " less)" in cell or "undecided" in cell or "failed" in cell
    return GOOD if cell.startswith(_FOR) and not has_mark else ""
