"""All that tables, the report and the dashboard show, computed once from the frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from adabatch.errors import ConfigError
from analysis.criteria import choose_criteria
from analysis.frames import Data
from analysis.matching import Matching, match
from analysis.names import plain_arm
from analysis.order import arm_names, ordered_groups
from analysis.overall import cost, overall_speedup
from analysis.preregistration import registrations
from analysis.quality import Measure, quality_by_arm
from analysis.remarks import drift_remark, drifts, outlier_remark, outlying_runs, remarks, size_remarks
from analysis.replicates import curve_ids
from analysis.speedup import speedup, split
from analysis.target import Targets, derived_targets, time_to_target


@dataclass(frozen=True)
class Comparison:
    """Arms against their baselines.

    Attributes:
        quality: see `analysis.quality.quality_by_arm`.
        speedup: see `analysis.speedup.speedup`.
        target: see `analysis.target.time_to_target`.
        split: see `analysis.speedup.split`.
        overall: see `analysis.overall.overall_speedup`.
        cost: see `analysis.overall.cost`.
        drifts: see `analysis.remarks.drifts`.
        outliers: see `analysis.remarks.outlying_runs`.
        matching: the pairs behind them, and what was refused.
        targets: by group what counts as reached.
        measure: what runs are judged by, with its margin.
        smallest_effect: the smallest speedup worth naming, as a share.
        remarks: what a reader must know of the runs as a whole, as sentences.
        registrations: what each sweep declared before it ran, and whether that still holds, as sentences.
    """

    data: Data
    quality: pd.DataFrame
    speedup: pd.DataFrame
    target: pd.DataFrame
    split: pd.DataFrame
    overall: pd.DataFrame
    cost: pd.DataFrame
    drifts: pd.DataFrame
    outliers: pd.DataFrame
    matching: Matching
    targets: Targets
    measure: Measure
    smallest_effect: float
    remarks: tuple[str, ...] = ()
    registrations: tuple[str, ...] = ()

    @property
    def accuracy(self) -> pd.DataFrame:
        """The quality of today's only task, test accuracy."""
        return self.quality

    @property
    def totals(self) -> pd.DataFrame:
        """The rows of ``speedup`` that are about training and growth together."""
        return self.speedup[self.speedup.quantity == "total"]

    @property
    def compared(self) -> list[tuple[str, str, str]]:
        """Group, arm and baseline of all that is compared, with a number or without, in the order of every output.

        Groups as in `analysis.order.ordered_groups`, their arms as in `arm_names`, and of an arm with several baselines
        the sweep's own first.
        """
        quality = self.quality[self.quality.baseline.notna()]
        names = ("group", "arm", "baseline")
        keys = {key for frame in (self.speedup, quality) for key in zip(*(frame[name] for name in names), strict=True)}
        groups = {group: place for place, group in enumerate(ordered_groups(self.data.runs.group))}
        arms = {arm: place for place, arm in enumerate(arm_names(self.data))}

        def place(key: tuple[str, str, str]) -> tuple[int, int, bool, str, str]:
            group, arm, baseline = key
            return groups[group], arms[plain_arm(arm)], baseline != self.matching.baselines.get(group), arm, baseline

        return sorted(keys, key=place)

    @property
    def counted(self) -> Data:
        """The finished runs that are in numbers."""
        return self.data.select_runs(self.matching.counted & set(self.data.done.index))


def compare(
    data: Data,
    *,
    allow: Sequence[str] = (),
    baseline: str | None = None,
    target: float | None = None,
    margin: float | None = None,
    smallest_effect: float | None = None,
) -> Comparison:
    """Compare every arm with its baselines. What is not given is what the sweep declared, else a default.

    Args:
        allow: keys in which the runs of a pair may differ; see `analysis.matching.match`.
        baseline: an arm that goes before the sweep's own baseline.
        target: test accuracy as a fraction; by default the baseline's median final one minus the margin.
        margin: how much worse is still acceptable, in percentage points; by default 1.
        smallest_effect: the smallest speedup worth naming, as a share; by default 0.02.

    Raises:
        ConfigError: for a value out of range, or an unknown arm.

    Example:
        >>> comparison = analysis.compare(analysis.load("runs/demo"))
        >>> comparison.speedup.query("quantity == 'total'")[["arm", "value", "low", "high", "verdict"]]
    """
    criteria = choose_criteria(data, target, margin, smallest_effect)
    if baseline is not None and baseline not in set(data.runs.arm):
        raise ConfigError(f"the baseline is {baseline}; it must be one of {', '.join(sorted(set(data.runs.arm)))}.")
    measure = Measure().with_margin(criteria.margin)
    matching = match(data, allow, baseline)
    curves = curve_ids(data.select_runs(matching.counted), measure.column)
    targets = derived_targets(data, matching, measure, curves)
    if criteria.target is not None:
        targets = Targets(dict.fromkeys(data.runs.group, criteria.target), is_declared=True)
    quality = quality_by_arm(data, matching, measure, curves)
    drifted, outlying = drifts(data, matching), outlying_runs(data, matching)
    all_groups = list(matching.baselines)
    return Comparison(
        data=data,
        quality=quality,
        speedup=speedup(data, matching, criteria.smallest_effect, curves),
        target=time_to_target(data, matching, targets, measure, criteria.smallest_effect, curves),
        split=split(data, matching),
        overall=overall_speedup(data, matching, targets, measure, curves),
        cost=cost(data),
        drifts=drifted,
        outliers=outlying,
        matching=matching,
        targets=targets,
        measure=measure,
        smallest_effect=criteria.smallest_effect,
        remarks=(
            *criteria.remarks,
            *size_remarks(quality, measure),
            *drift_remark(drifted, all_groups),
            *outlier_remark(outlying, all_groups),
            *remarks(data, matching, measure),
        ),
        registrations=tuple(registrations(data, baseline, criteria)),
    )
