"""Formats plans as text: tables that fit 80 columns and are complete if the output is piped."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from adabatch.shell.text_table import Output, Sentence
from adabatch.terminal import counted, duration, listed, number_text
from launch.chain_plan import chain_text
from launch.forecast_text import forecasts_text
from launch.lint import ERROR, Finding
from launch.plan import ArmPlan, Estimate, Plan, Stage
from launch.run_names import arm_and_levels, points_text

_SHOWN_CELLS = 4
_ONLY_THE_START = (
    "This schedule listens to signals, which only training measures: the table shows what it decides without any, as "
    "at the start. Batches, learning rates and updates can become others, and lint cannot check them."
)


def plan_text(plan: Plan, allowed: Sequence[str]) -> RenderableType:
    """Return the plan as text and tables."""
    states = ", ".join(f"{count:,} {state}" for state, count in plan.states.items())
    parts: list[RenderableType] = [
        Sentence(f"sweep {plan.sweep} in {plan.folder}: {counted(plan.num_runs, 'run')} ({states})")
    ]
    for arms in _alike(plan.arms):
        arm = arms[0]
        parts += [Text(""), Sentence(_title(arms, [one.arm for one in plan.arms]), "bold"), _stage_table(arm.stages)]
        if arm.chain:
            parts.append(Sentence(chain_text(arm.chain)))
        if arm.listens_to_signals:
            parts.append(Sentence(_ONLY_THE_START))
    is_known = plan.estimate.total_hours is not None or plan.forecast_totals is None
    estimate = f" {_estimate_text(plan.estimate)}" if is_known else ""
    parts += [Text(""), Sentence(f"{counted(plan.updates, 'update')} in all runs.{estimate}")]
    if plan.forecast:
        parts += [Text(""), forecasts_text(plan.forecast)]
    if plan.forecast_totals is not None:
        parts += [Text(""), Sentence(f"forecast: {plan.forecast_totals.text}", "bold")]
    parts += [Text(""), findings_text(plan.findings, allowed)]
    return Output(*parts)


def _alike(arms: Sequence[ArmPlan]) -> list[list[ArmPlan]]:
    """Return the plans of an arm together that differ in nothing but their grid point."""
    groups: dict[ArmPlan, list[ArmPlan]] = {}
    for arm in arms:
        key = dataclasses.replace(arm, arm=arm.arm.partition(",")[0], cells=(), num_runs=0)
        groups.setdefault(key, []).append(arm)
    return list(groups.values())


def _title(arms: Sequence[ArmPlan], all_arms: Sequence[str]) -> str:
    first = arms[0]
    name, points = first.arm, ""
    if len(arms) > 1:
        name = first.arm.partition(",")[0]
        named = points_text([arm.arm for arm in arms], all_arms, _SHOWN_CELLS)
        points = f" at {len(arms):,} grid points that are alike ({named})"
    cells = listed(list(dict.fromkeys(cell for arm in arms for cell in arm.cells)), _SHOWN_CELLS, of="cells")
    dropped = f", {counted(first.samples_dropped, 'sample')} dropped" if first.samples_dropped else ""
    runs = counted(sum(arm.num_runs for arm in arms), "run")
    epochs, updates = counted(first.num_epochs, "epoch"), counted(first.updates, "update")
    return f"{name}: {runs} of {epochs} on {cells}{points}; each {updates}{dropped}"


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
    first, last = (f"{value:.{digits}g}" if digits else number_text(value) for value in pair)
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
        return f"The {estimate.device} time is unknown until every cell has a finished run; --forecast measures it."
    total, left = (duration(3600 * hours) for hours in (estimate.total_hours, estimate.left_hours))
    runs = counted(estimate.finished_runs, "finished run")
    return f"About {total} of {estimate.device} time, {left} of it left, based on {runs}."


def findings_text(findings: Sequence[Finding], allowed: Sequence[str]) -> RenderableType:
    """Return the findings of lint as text."""
    if not findings:
        return Text("lint: nothing found")
    alike: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        arm = finding.arm and arm_and_levels(finding.arm)[0]
        alike.setdefault((finding.code, finding.level, arm, finding.sentence, finding.remedy), []).append(finding)
    lines: list[RenderableType] = [Text(f"lint: {_count(findings, allowed)}")]
    for members in alike.values():
        lines += _finding_lines(members, allowed)
    return Group(*lines)


def _finding_lines(members: Sequence[Finding], allowed: Sequence[str]) -> list[RenderableType]:
    """Return a finding and its remedy, once for all grid points and cells that it concerns."""
    first = members[0]
    is_allowed = first.code in allowed
    level = "allowed" if is_allowed and first.level == ERROR else first.level
    style = {"error": "red", "allowed": "yellow"}.get(level, "")
    cells = list(dict.fromkeys(cell for finding in members for cell in finding.cells))
    where = f" {first.arm}" if first.arm else ""
    if len(members) > 1 and first.arm:
        where = f" {arm_and_levels(first.arm)[0]} at {len(members):,} grid points"
    named = f" [{listed(cells, _SHOWN_CELLS)}]" if cells else ""
    sentence = Sentence(f"  {level} {first.code}{where}: {first.sentence}{named}", style)
    return [sentence, Sentence(f"    {first.remedy}", "dim")]


def _count(findings: Sequence[Finding], allowed: Sequence[str]) -> str:
    errors = sum(finding.level == ERROR and finding.code not in allowed for finding in findings)
    others = len(findings) - errors
    return f"{counted(errors, 'error') if errors else 'no errors'}, {counted(others, 'note')}"
