"""Claim by claim: what a paper says, what the runs say, and whether they agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from adabatch.errors import ConfigError
from adabatch.fields import require, require_choice
from analysis.cells import interval, ratio_interval, signed, times
from analysis.comparison import Comparison, compare
from analysis.frames import Data, tuples
from analysis.quality import FAILED_ARM, quality_decisions
from analysis.speedup import QUANTITIES
from analysis.table import Table
from analysis.trajectories import growing_arms
from analysis.verdicts import BETTER, EQUIVALENT, NOT_WORSE, WORSE

REPRODUCED, CONTRADICTED, UNDECIDED, NOT_RUN = "reproduced", "contradicted", "undecided", "not run"
BASELINE, START = "baseline", "start"
WITHIN = "within"
#: Whether a quality is no worse than allowed, by decision; others leave it undecided.
_HAS_QUALITY = {BETTER: True, EQUIVALENT: True, NOT_WORSE: True, WORSE: False, FAILED_ARM: False}
#: "About" means within a tenth.
_ABOUT = 0.1
_KEYS = {"name", "text", "source", "quantity", "says", "value", "against", "where", "arm", "margin"}
QUALITY = "quality"
_REFERENCES = Path(__file__).parent / "references"


@dataclass(frozen=True)
class Claim:
    """One claim; see the head of ``analysis/references/adabatch_paper.yaml`` for what its keys mean."""

    name: str
    text: str
    source: str
    quantity: str
    says: str
    value: float
    against: str
    where: dict[str, list[Any]]
    arm: dict[str, list[Any]]
    margin: float | None


@dataclass(frozen=True)
class Score:
    """What became of a claim.

    Attributes:
        measured: the numbers, as text.
        verdict: one of reproduced, contradicted, undecided, not run.
        why: the reason, as text.
    """

    claim: Claim
    measured: str
    verdict: str
    why: str


@dataclass(frozen=True)
class _Measured:
    """One arm's speedup with its interval, and whether its quality is no worse than the claim allows.

    Attributes:
        has_quality: None if that is undecided.
    """

    label: str
    value: float
    low: float
    high: float
    has_quality: bool | None

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.low)


def find_claims(name: str) -> Path:
    """Return the file of claims that has a name, in ``analysis/references`` or as a file of the user's own."""
    known = _REFERENCES / f"{name}.yaml"
    return known if known.is_file() else Path(name)


def read_claims(path: Path | str) -> list[Claim]:
    """Read a file of claims.

    Raises:
        ConfigError: if it cannot be read, or a claim has other keys or values than allowed.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(values, dict) or not isinstance(values.get("claims"), list):
        raise ConfigError(f"{path} has no list of claims; it must have one under the key claims.")
    return [_claim(path, entry) for entry in values["claims"]]


def _claim(path: Path, entry: object) -> Claim:
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        raise ConfigError(f"{path}: a claim is {entry}; it must have the keys {', '.join(sorted(_KEYS))}.")
    claim = Claim(**entry)
    where = f"{path}: {claim.name}'s"
    require_choice(f"{where} quantity", claim.quantity, (QUALITY, *QUANTITIES))
    allowed = (WITHIN,) if claim.quantity == QUALITY else tuple(_RULES)
    require_choice(f"{where} says", claim.says, allowed)
    require_choice(f"{where} against", claim.against, (BASELINE, START))
    require(
        isinstance(claim.value, int | float) and claim.value > 0, f"{where} value", claim.value, "a positive number"
    )
    for key in ("where", "arm"):
        wanted = getattr(claim, key)
        is_sound = isinstance(wanted, dict) and all(isinstance(values, list) for values in wanted.values())
        require(is_sound, f"{where} {key}", wanted, "a mapping of columns of the runs to lists of values")
    margin = claim.margin
    is_margin = isinstance(margin, int | float) and margin > 0
    require(is_margin, f"{where} margin", margin, "the points of quality that the claim allows to lose")
    is_one_number = claim.quantity != QUALITY or margin == claim.value
    require(is_one_number, f"{where} margin", margin, f"its value, {claim.value:g}, where the quantity is {QUALITY}")
    return claim


def scorecard(data: Data, claims: list[Claim], **options: Any) -> list[Score]:
    """Judge every claim by the growing arms of the runs that it speaks of.

    Args:
        options: of `analysis.compare`; the margin is the claim's own.
    """
    return [_score(data, claim, options) for claim in claims]


def _score(data: Data, claim: Claim, options: dict[str, Any]) -> Score:
    conditions = ", ".join(f"{key} {' or '.join(map(str, wanted))}" for key, wanted in claim.where.items())
    absent = [key for key in claim.where if key not in data.runs]
    chosen = data if absent else data.select(**claim.where)
    if absent or not len(chosen.runs):
        return Score(claim, "", NOT_RUN, f"there is no run with {conditions}")
    comparison = compare(chosen, **{**options, "margin": claim.margin})
    arms = _arms_of_design(claim, chosen)
    if not arms:
        design = ", ".join(f"{key} {' or '.join(map(str, wanted))}" for key, wanted in claim.arm.items())
        return Score(claim, "", NOT_RUN, f"no growing arm has the design of the claim ({design})")
    if claim.quantity == QUALITY:
        return _score_quality(claim, comparison, arms)
    measured = _measured(claim, comparison, arms)
    if not measured:
        return Score(claim, "", NOT_RUN, _why_nothing(claim, comparison))
    verdict, why = _RULES[claim.says](claim.value, measured)
    shown = "; ".join(f"{one.label} {times(one.value)} ({ratio_interval(one.low, one.high)})" for one in measured)
    return Score(claim, shown, verdict, why)


def _arms_of_design(claim: Claim, data: Data) -> set[tuple[str, str]]:
    """Return group and arm of the growing arms whose every run has the design that the claim names.

    An arm of another design, such as one of the user's own, says nothing about the claim.
    """
    columns = [key for key in claim.arm if key in data.runs]
    if len(columns) < len(claim.arm):
        return set()
    fits = pd.Series(True, index=data.runs.index)
    for key in columns:
        fits &= data.runs[key].isin(claim.arm[key]) | data.runs[key].isna()
    arms = data.runs.assign(fits=fits).groupby(["group", "arm"]).fits.all()
    return {key for key in growing_arms(data) if arms.get(key, False)}


def _rows(claim: Claim, comparison: Comparison, frame: pd.DataFrame, arms: set[tuple[str, str]]) -> list[Any]:
    """Return the rows of some arms against the claim's kind of baseline."""
    rows = [row for row in tuples(frame) if (row.group, row.arm) in arms and isinstance(row.baseline, str)]
    return [row for row in rows if _is_meant(claim, comparison, row)]


def _is_meant(claim: Claim, comparison: Comparison, row: Any) -> bool:
    if claim.against == BASELINE:
        return bool(row.baseline == comparison.matching.baselines.get(row.group))
    return (row.group, row.arm, row.baseline) in comparison.matching.starts


def _measured(claim: Claim, comparison: Comparison, arms: set[tuple[str, str]]) -> list[_Measured]:
    qualities = quality_decisions(comparison.quality)
    speedups = comparison.speedup[comparison.speedup.quantity == claim.quantity]
    measured = []
    for row in _rows(claim, comparison, speedups, arms):
        if not math.isnan(row.value):
            decision = qualities[row.group, row.arm, row.baseline].decision
            label = f"{row.group}/{row.arm}"
            measured.append(_Measured(label, row.value, row.low, row.high, _HAS_QUALITY.get(decision)))
    return measured


def _score_quality(claim: Claim, comparison: Comparison, arms: set[tuple[str, str]]) -> Score:
    rows = [row for row in _rows(claim, comparison, comparison.quality, arms) if row.pairs or row.failed]
    if not rows:
        return Score(claim, "", NOT_RUN, _why_nothing(claim, comparison))
    shown = "; ".join(
        f"{row.group}/{row.arm} {signed(row.difference)} ({interval(row.low, row.high, signed)})" for row in rows
    )
    has_quality = {f"{row.group}/{row.arm}": _HAS_QUALITY.get(row.decision) for row in rows}
    worse = [name for name, answer in has_quality.items() if answer is False]
    if worse:
        return Score(claim, shown, CONTRADICTED, f"{', '.join(worse)}: worse by more than {claim.value:g}, or failed")
    undecided = [name for name, answer in has_quality.items() if answer is None]
    if undecided:
        return Score(claim, shown, UNDECIDED, f"{', '.join(undecided)}: more seeds are needed")
    which = "the interval lies" if len(rows) == 1 else f"all of {len(rows):,} intervals lie"
    return Score(claim, shown, REPRODUCED, f"{which} above -{claim.value:g}")


def _why_nothing(claim: Claim, comparison: Comparison) -> str:
    if len(comparison.matching.refused):
        keys = ", ".join(comparison.matching.refused.key.unique())
        return f"the pairs that could tell differ in {keys} and are refused"
    against = "the baseline" if claim.against == BASELINE else "an arm fixed at its first batch"
    return f"no growing arm has a finished pair with {against}"


def _about(value: float, measured: list[_Measured]) -> tuple[str, str]:
    low, high = value * (1 - _ABOUT), value * (1 + _ABOUT)
    outside = [one.label for one in measured if one.low > high or one.high < low]
    if outside:
        return CONTRADICTED, f"{', '.join(outside)}: the whole interval lies outside {low:.2f} to {high:.2f}"
    if all(low <= one.low and one.high <= high for one in measured):
        return _if_quality(measured, f"all intervals lie within {low:.2f} to {high:.2f}")
    return UNDECIDED, f"an interval reaches beyond {low:.2f} to {high:.2f}, or there is none"


def _up_to(value: float, measured: list[_Measured]) -> tuple[str, str]:
    reaching = [one for one in measured if one.low >= value]
    good = [one for one in reaching if one.has_quality]
    if good:
        best = max(good, key=_value).label
        return REPRODUCED, f"{best} reaches it with its whole interval, and its quality is no worse"
    if all(one.high < value or one.has_quality is False for one in measured):
        return CONTRADICTED, f"no arm reaches {value:g} at a quality that is no worse"
    return UNDECIDED, f"{value:g} lies within an interval, there is none, or the quality is undecided"


def _at_most(value: float, measured: list[_Measured]) -> tuple[str, str]:
    more = [one.label for one in measured if one.low > value and one.has_quality is not False]
    if more:
        return CONTRADICTED, f"{', '.join(more)}: the whole interval lies above {value:g}"
    if all(one.high <= value for one in measured):
        return _if_quality(measured, f"all intervals lie below {value:g}")
    return UNDECIDED, f"{value:g} lies within an interval, or there is none"


def _if_quality(measured: list[_Measured], why: str) -> tuple[str, str]:
    """Return that a claim is reproduced if every arm's quality is no worse: speed alone shows nothing."""
    without = [one.label for one in measured if not one.has_quality]
    if without:
        return UNDECIDED, f"{why}, but the quality of {', '.join(without)} is worse or undecided"
    return REPRODUCED, f"{why}, and the quality is no worse"


def _value(one: _Measured) -> float:
    return one.value


_RULES: dict[str, Callable[[float, list[_Measured]], tuple[str, str]]] = {
    "about": _about,
    "up_to": _up_to,
    "at_most": _at_most,
}


def scorecard_table(scores: list[Score], work: str) -> Table:
    """Return the scores for reading."""
    columns = ["claim", "source", "says", "measured", "verdict", "why"]
    rows = [
        [score.claim.text, score.claim.source, f"{score.claim.says.replace('_', ' ')} {score.claim.value:g}",
         score.measured, score.verdict, score.why]
        for score in scores
    ]  # fmt: skip
    notes = [
        "measured: arm, then points or speedup with its 95 % interval; on the hardware of the runs, not the paper's."
    ]
    return Table("scorecard", f"Scorecard: {work}", columns, rows, notes)
