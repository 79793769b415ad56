"""Formats plans as text: tables that fit 80 columns and are complete if the output is piped."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from launch.forecast_text import forecast_text
from launch.lint import ERROR, Finding
from launch.plan import ArmPlan, Estimate, Plan, Stage

_SHOWN_CELLS = 4
_ONLY_THE_START = (
    "This schedule listens to signals, which only training measures: the table shows what it decides without any, as "
    "at the start. Batches, learning rates and updates can become others, and lint cannot check them."
)


def plan_text(plan: Plan, allowed: Sequence[str]) -> RenderableType:
    """Return the plan as text and tables."""
    states = ", ".join(f"{count} {state}" for state, count in plan.states.items())
    parts: list[RenderableType] = [Text(f"sweep {plan.sweep} in {plan.folder}: {plan.num_runs} runs ({states})")]
    for arms in _alike(plan.arms):
        arm = arms[0]
        parts += [Text(""), Text(_title(arms), style="bold"), _stage_table(arm.stages)]
        if arm.listens_to_signals:
            parts.append(Text(_ONLY_THE_START))
    parts += [Text(""), Text(f"{plan.updates:,} updates in all runs. {_estimate_text(plan.estimate)}")]
    for cell in plan.forecast:
        parts += [Text(""), forecast_text(cell)]
    parts += [Text(""), findings_text(plan.findings, allowed)]
    return Group(*parts)


def _alike(arms: Sequence[ArmPlan]) -> list[list[ArmPlan]]:
    """Return the plans of an arm together that differ in nothing but their grid point."""
    groups: dict[ArmPlan, list[ArmPlan]] = {}
    for arm in arms:
        key = dataclasses.replace(arm, arm=arm.arm.partition(",")[0], cells=(), num_runs=0)
        groups.setdefault(key, []).append(arm)
    return list(groups.values())


def _title(arms: Sequence[ArmPlan]) -> str:
    first = arms[0]
    name, points = first.arm, ""
    if len(arms) > 1:
        name = first.arm.partition(",")[0]
        listed = _some([arm.arm.partition(",")[2] for arm in arms], "points")
        points = f" at {len(arms)} grid points that are alike ({listed})"
    cells = _some(list(dict.fromkeys(cell for arm in arms for cell in arm.cells)), "cells")
    dropped = f", {first.samples_dropped:,} samples dropped" if first.samples_dropped else ""
    num_runs = sum(arm.num_runs for arm in arms)
    runs = "1 run" if num_runs == 1 else f"{num_runs} runs"
    return f"{name}: {runs} of {first.num_epochs} epochs on {cells}{points}; each {first.updates:,} updates{dropped}"


def _some(names: Sequence[str], what: str) -> str:
    """Return the first names, and how many others there are."""
    more = len(names) - _SHOWN_CELLS
    return ", ".join(names[:_SHOWN_CELLS]) + (f" and {more} more {what}" if more > 0 else "")


def _stage_table(stages: Sequence[Stage]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    headers = (
        "epochs",
        "batch",
        "micro x\nacc x ranks",
        "learning\nrate",
        "learning\nrate per\nsample",
        "updates\nper epoch",
        "dropped\nper epoch",
    )
    for header in headers:
        table.add_column(header, justify="right", overflow="fold")
    for stage in stages:
        table.add_row(
            _range((stage.first_epoch, stage.last_epoch), "-"),
            _range(stage.batch_size),
            _split(stage),
            _range(stage.learning_rate, "\n> ", digits=8),
            _range(stage.rate_per_sample, "\n> ", digits=6),
            _range(stage.updates_per_epoch),
            _range(stage.samples_dropped),
        )
    return table


def _range(pair: tuple[Any, Any], between: str = " > ", digits: int = 0) -> str:
    first, last = (f"{value:.{digits}g}" if digits else str(value) for value in pair)
    if first == last:
        return first
    if digits:
        first, last = (f"{value:.4g}" for value in pair)
    return f"{first}{between}{last}"


def _split(stage: Stage) -> str:
    if stage.micro_batch_size is None or stage.accumulation_steps is None:
        return f"auto x {stage.world_size}"
    return f"{_range(stage.micro_batch_size)} x {_range(stage.accumulation_steps)} x {stage.world_size}"


def _estimate_text(estimate: Estimate) -> str:
    if estimate.total_hours is None or estimate.left_hours is None:
        return f"{estimate.device}-hours are unknown until every cell has a finished run."
    return (
        f"About {estimate.total_hours:.3g} {estimate.device}-hours, {estimate.left_hours:.3g} of them left, "
        f"based on {estimate.finished_runs} finished runs."
    )


def findings_text(findings: Sequence[Finding], allowed: Sequence[str]) -> RenderableType:
    """Return the findings of lint as text."""
    if not findings:
        return Text("lint: nothing found")
    lines: list[RenderableType] = [Text(f"lint: {_count(findings, allowed)}")]
    for finding in findings:
        is_allowed = finding.code in allowed
        level = "allowed" if is_allowed and finding.level == ERROR else finding.level
        style = {"error": "red", "allowed": "yellow"}.get(level, "")
        where = f" {finding.arm}" if finding.arm else ""
        cells = f" [{', '.join(finding.cells[:_SHOWN_CELLS])}{', ...' if len(finding.cells) > _SHOWN_CELLS else ''}]"
        lines.append(
            Text(f"  {level} {finding.code}{where}: {finding.sentence}{cells if finding.cells else ''}", style=style)
        )
        lines.append(Text(f"    {finding.remedy}", style="dim"))
    return Group(*lines)


def _count(findings: Sequence[Finding], allowed: Sequence[str]) -> str:
    errors = sum(finding.level == ERROR and finding.code not in allowed for finding in findings)
    others = len(findings) - errors
    notes = f"{others} note{'s' if others != 1 else ''}"
    return f"{errors} error{'s' if errors != 1 else ''}, {notes}" if errors else f"no errors, {notes}"
