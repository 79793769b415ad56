"""Colours of cells: a verdict for an arm is one only beside a quality that is known to be no worse."""

from __future__ import annotations

import pytest

from analysis.table import Table, make_table
from analysis.tones import tones


def table(speedup: str, verdict: str) -> Table:
    return make_table("speedup", "Speedup", ["group", "arm", "speedup", "verdict"], [["cell", "arm", speedup, verdict]])


@pytest.mark.parametrize(
    ("speedup", "verdict", "tone"),
    [
        ("1.33x", "faster", "good"),
        ("1.82x, at 3.07 points less", "faster", ""),
        ("1.23x, test accuracy undecided", "faster", ""),
        ("0.80x, at 3.07 points less", "slower", "bad"),
        ("1.02x", "undecided: about 9 seeds", ""),
    ],
)
def test_a_speedup_with_a_mark_speaks_for_no_arm(speedup: str, verdict: str, tone: str) -> None:
    shown = table(speedup, verdict)
    [row] = shown.rows
    assert dict(zip(shown.columns, tones(shown, row), strict=True))["verdict"] == tone


@pytest.mark.parametrize(
    ("verdict", "tone"),
    [
        ("faster (1.33x)", "good"),
        ("faster (1.82x, at 3.07 points less)", ""),
        ("faster (1.23x, test accuracy undecided)", ""),
        ("equivalent within 1 point (+0.09)", "good"),
        ("equivalent within 1 point; with Holm: undecided among 9 comparisons (-0.13)", ""),
        ("worse; with Holm: undecided among 9 comparisons (-2.07)", ""),
        ("not reached", "bad"),
        ("worse (-3.07)", "bad"),
    ],
)
def test_a_verdict_tells_its_own_mark(verdict: str, tone: str) -> None:
    shown = make_table("verdicts", "Verdicts", ["group", "arm", "speed"], [["cell", "arm", verdict]])
    [row] = shown.rows
    assert tones(shown, row)[-1] == tone
