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
from analysis.comparison import Comparison, compare
from analysis.frames import Data, tuples
from analysis.speedup import NOISE_UNKNOWN, QUANTITIES, WITHIN_NOISE
from analysis.statistics import WITHIN, WORSE
from analysis.tables import Table, interval, plain, signed
from analysis.trajectories import growing_arms

REPRODUCED, CONTRADICTED, UNDECIDED, NOT_RUN = "reproduced", "contradicted", "undecided", "not run"
BASELINE, START = "baseline", "start"
#: "About" means within a tenth.
_ABOUT = 0.1
_KEYS = {"name", "text", "source", "quantity", "says", "value", "against", "where"}


@dataclass(frozen=True)
class Claim:
    """One claim; see the head of ``docs/reference/adabatch_paper.yaml`` for what its keys mean."""

    name: str
    text: str
    source: str
    quantity: str
    says: str
    value: float
    against: str
    where: dict[str, list[Any]]


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
    """One arm's number with its interval.

    Attributes:
        noise: by which factor noise may have moved a number that does not stand out from it; NaN if that is unknown, 1
            for a number that stands out.
        is_noise: whether it does not stand out.
    """

    label: str
    value: float
    low: float
    high: float
    noise: float
    is_noise: bool

    @property
    def has_interval(self) -> bool:
        return not math.isnan(self.low)

    @property
    def surely_above(self) -> float:
        """What the number exceeds, noise or not; NaN if nothing is sure."""
        return self.low / self.noise

    @property
    def surely_below(self) -> float:
        """What the number does not exceed, noise or not; NaN if nothing is sure."""
        return self.high * self.noise


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
    require_choice(f"{where} quantity", claim.quantity, ("accuracy", *QUANTITIES))
    allowed = (WITHIN,) if claim.quantity == "accuracy" else tuple(_RULES)
    require_choice(f"{where} says", claim.says, allowed)
    require_choice(f"{where} against", claim.against, (BASELINE, START))
    require(
        isinstance(claim.value, int | float) and claim.value > 0, f"{where} value", claim.value, "a positive number"
    )
    require(
        isinstance(claim.where, dict) and all(isinstance(wanted, list) for wanted in claim.where.values()),
        f"{where} where", claim.where, "a mapping of columns of the runs to lists of values",
    )  # fmt: skip
    return claim


def scorecard(data: Data, claims: list[Claim], **options: Any) -> list[Score]:
    """Judge every claim by the growing arms of the runs that it speaks of.

    Args:
        options: of `analysis.compare`; the margin is the claim's own.
    """
    return [_score(data, claim, options) for claim in claims]


def _score(data: Data, claim: Claim, options: dict[str, Any]) -> Score:
    chosen = data.select(**{key: wanted for key, wanted in claim.where.items() if key in data.runs})
    conditions = ", ".join(f"{key} {' or '.join(map(str, wanted))}" for key, wanted in claim.where.items())
    absent = [key for key in claim.where if key not in data.runs]
    if absent or not len(chosen.runs):
        return Score(claim, "", NOT_RUN, f"there is no run with {conditions}")
    margin = claim.value if claim.quantity == "accuracy" else 1.0
    comparison = compare(chosen, **{**options, "margin_points": margin})
    if claim.quantity == "accuracy":
        return _score_accuracy(claim, comparison)
    measured = _measured(claim, comparison)
    if not measured:
        return Score(claim, "", NOT_RUN, _why_nothing(claim, comparison))
    verdict, why = _RULES[claim.says](claim.value, measured)
    shown = "; ".join(f"{one.label} {one.value:.2f}x ({interval(one.low, one.high, plain)})" for one in measured)
    return Score(claim, shown, verdict, why)


def _rows(claim: Claim, comparison: Comparison, frame: pd.DataFrame) -> list[Any]:
    """Return the rows of growing arms against the claim's kind of baseline."""
    growing = growing_arms(comparison.data)
    return [
        row
        for row in tuples(frame)
        if (row.group, row.arm) in growing and row.baseline is not None and _is_meant(claim, comparison, row)
    ]


def _is_meant(claim: Claim, comparison: Comparison, row: Any) -> bool:
    if claim.against == BASELINE:
        return bool(row.baseline == comparison.matching.baselines.get(row.group))
    return (row.group, row.arm, row.baseline) in comparison.matching.starts


def _measured(claim: Claim, comparison: Comparison) -> list[_Measured]:
    rows = _rows(claim, comparison, comparison.speedup[comparison.speedup.quantity == claim.quantity])
    measured = []
    for row in rows:
        is_noise = row.verdict in (WITHIN_NOISE, NOISE_UNKNOWN)
        noise = row.noise if is_noise else 1.0
        if row.n:
            measured.append(_Measured(f"{row.group}/{row.arm}", row.value, row.low, row.high, noise, is_noise))
    return measured


def _score_accuracy(claim: Claim, comparison: Comparison) -> Score:
    rows = [row for row in _rows(claim, comparison, comparison.accuracy) if row.pairs or row.diverged]
    if not rows:
        return Score(claim, "", NOT_RUN, _why_nothing(claim, comparison))
    shown = "; ".join(
        f"{row.group}/{row.arm} {signed(row.difference_points)} ({interval(row.low_points, row.high_points, signed)})"
        for row in rows
    )
    decisions = {f"{row.group}/{row.arm}": row.decision for row in rows}
    lost = [name for name, decision in decisions.items() if decision in (WORSE, "diverged")]
    if lost:
        return Score(claim, shown, CONTRADICTED, f"{', '.join(lost)}: worse by more than {claim.value:g}, or diverged")
    open_ = [name for name, decision in decisions.items() if decision != WITHIN]
    if open_:
        return Score(claim, shown, UNDECIDED, f"{', '.join(open_)}: more seeds are needed")
    return Score(claim, shown, REPRODUCED, f"all of {len(rows)} intervals lie above -{claim.value:g}")


def _why_nothing(claim: Claim, comparison: Comparison) -> str:
    if len(comparison.matching.refused):
        keys = ", ".join(comparison.matching.refused.key.unique())
        return f"the pairs that could tell differ in {keys} and are refused"
    against = "the baseline" if claim.against == BASELINE else "an arm fixed at its first batch"
    return f"no growing arm has a finished pair with {against}"


def _about(value: float, measured: list[_Measured]) -> tuple[str, str]:
    low, high = value * (1 - _ABOUT), value * (1 + _ABOUT)
    if any(not one.has_interval for one in measured):
        return UNDECIDED, "one pair of seeds has no interval"
    outside = [one.label for one in measured if one.surely_below < low or one.surely_above > high]
    if outside:
        return CONTRADICTED, f"{', '.join(outside)}: the whole interval lies outside {low:.2f} to {high:.2f}"
    inside = all(low <= one.low and one.high <= high for one in measured)
    if inside and not any(one.is_noise for one in measured):
        return REPRODUCED, f"all intervals lie within {low:.2f} to {high:.2f}"
    return UNDECIDED, f"an interval reaches beyond {low:.2f} to {high:.2f}, or the speedup is within noise"


def _up_to(value: float, measured: list[_Measured]) -> tuple[str, str]:
    reaching = [one for one in measured if one.surely_above >= value]
    if reaching:
        return REPRODUCED, f"{max(reaching, key=_value).label} reaches it with its whole interval"
    if all(one.surely_below < value for one in measured):
        return CONTRADICTED, f"no interval reaches {value:g}; the best is {max(measured, key=_value).label}"
    return UNDECIDED, _why_open(value, measured)


def _at_most(value: float, measured: list[_Measured]) -> tuple[str, str]:
    more = [one.label for one in measured if one.surely_above > value]
    if more:
        return CONTRADICTED, f"{', '.join(more)}: the whole interval lies above {value:g}"
    if all(one.surely_below <= value for one in measured):
        return REPRODUCED, f"all intervals lie below {value:g}"
    return UNDECIDED, _why_open(value, measured)


def _value(one: _Measured) -> float:
    return one.value


def _why_open(value: float, measured: list[_Measured]) -> str:
    """Say why no side of a value is sure."""
    noise = [one.label for one in measured if one.is_noise and one.has_interval]
    if noise:
        return f"{', '.join(noise)}: the speedup may be noise; or {value:g} lies within an interval"
    return f"{value:g} lies within an interval, or there is none"


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
