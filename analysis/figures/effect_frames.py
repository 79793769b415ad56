"""What each arm gained in time and in quality, a row a comparison, also where there is no number."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis.comparison import Comparison
from analysis.frames import tuples
from analysis.quality import FAILED_ARM, FAILED_BASELINE, WITHOUT_PAIR, quality_decisions
from analysis.speedup import NOT_MEASURED
from analysis.speedup import REFUSED as REFUSED_SPEED
from analysis.target import NOT_REACHED
from analysis.verdicts import BETTER, EQUIVALENT, NOT_WORSE, UNDECIDED

COLUMNS = ["group", "arm", "baseline", "value", "low", "high", "n", "verdict", "adjusted", "is_decided", "remark"]
#: Qualities beside which a speedup counts.
NO_WORSE = (BETTER, EQUIVALENT, NOT_WORSE)
_NO_NUMBER = {"value": math.nan, "low": math.nan, "high": math.nan, "n": 0}


def speed_effects(comparison: Comparison) -> pd.DataFrame:
    """Return the speedup of every compared arm, a row for each baseline, also where there is no number.

    ``value`` is baseline / arm with its interval, all NaN where ``verdict`` (in words) says why there is none. A row
    ``is_decided`` if the interval allows a claim, which counts: beside a quality that is not known to be no worse it
    does not, and ``remark`` says so.
    """
    totals = comparison.speedup[comparison.speedup.quantity == "total"]
    return _beside_quality(comparison, totals, {REFUSED_SPEED, NOT_MEASURED})


def target_effects(comparison: Comparison) -> pd.DataFrame:
    """Return the speedup to the target, as `speed_effects`; NaN where some run did not reach it."""
    target = comparison.target.assign(n=comparison.target.pairs)
    return _beside_quality(comparison, target, {NOT_REACHED}, any_quality=True)  # the target is the quality


def quality_effects(comparison: Comparison) -> pd.DataFrame:
    """Return the difference in quality to the baseline of every compared arm, in the quality's unit; columns as above.

    It is NaN where runs failed: what survived says nothing about the arm.
    """
    rows = []
    for row in tuples(comparison.quality):
        if not isinstance(row.baseline, str):
            continue
        known = {"value": row.difference, "low": row.low, "high": row.high, "n": int(row.pairs)}
        has_failed = row.decision in (FAILED_ARM, FAILED_BASELINE)
        is_decided = not has_failed and row.decision != UNDECIDED and not math.isnan(row.low)
        found = {"group": row.group, "arm": row.arm, "baseline": row.baseline, **(_NO_NUMBER if has_failed else known)}
        found |= {"verdict": _words(row), "adjusted": row.adjusted, "is_decided": is_decided, "remark": ""}
        rows.append(found)
    return pd.DataFrame(rows, columns=COLUMNS)


def _beside_quality(
    comparison: Comparison, frame: pd.DataFrame, without: set[str], any_quality: bool = False
) -> pd.DataFrame:
    """Return a row for each row of the quality, in that order: with its row of a frame of speedups, if it has one.

    Args:
        without: decisions that are no number.
        any_quality: a speedup counts beside every quality.
    """
    speeds = {(row.group, row.arm, row.baseline): row for row in tuples(frame)}
    qualities = quality_decisions(comparison.quality)
    rows = []
    for key in dict.fromkeys([*qualities, *speeds]):
        speed, quality = speeds.get(key), qualities.get(key)
        row: dict[str, Any] = dict(zip(("group", "arm", "baseline"), key, strict=True))
        row |= {**_NO_NUMBER, "is_decided": False, "remark": ""}
        if speed is None or (math.isnan(speed.value) and speed.decision not in without):
            rows.append(row | {"verdict": _word_without(speed, quality)})
            continue
        row |= {"verdict": str(speed.verdict), "adjusted": speed.adjusted}
        if speed.decision not in without:
            counts = any_quality or quality is None or quality.decision in NO_WORSE
            row |= {"value": speed.value, "low": speed.low, "high": speed.high, "n": int(speed.n)}
            row |= {"is_decided": speed.decision != UNDECIDED and counts}
            row |= {"remark": "" if counts else _remark(quality, comparison.measure.quality.name)}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def _word_without(speed: Any, quality: Any) -> str:
    """Return what is said of a pair without a speedup."""
    if quality is not None and quality.decision in WITHOUT_PAIR:
        return str(quality.verdict)
    return NOT_MEASURED if speed is None else str(speed.verdict)


def _remark(quality: Any, name: str) -> str:
    """Return why a speedup does not count."""
    has_failed = quality.decision in (FAILED_ARM, FAILED_BASELINE)
    return str(quality.verdict) if has_failed else f"{name} {quality.decision}"


def _words(row: Any) -> str:
    """Return a verdict on quality without the margin, which the picture shows."""
    return str(row.decision) if row.decision in NO_WORSE else str(row.verdict)
