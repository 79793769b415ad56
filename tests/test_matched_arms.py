"""Lint before the runs and tables after them judge arms by one rule: property tests over generated sweeps."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import analysis
from adabatch.config import TrainConfig, save_config
from adabatch.config.hashing import config_hash
from adabatch.rundir.columns import EpochRow, write_epochs_csv
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import LaunchFacts, update_meta
from adabatch.rundir.outcome import mark_done
from adabatch.schedules import tabulate
from analysis.frames import records
from launch.config import SweepConfig
from launch.expand import Expansion, Run, expand
from launch.lint import ERROR, lint

pytestmark = pytest.mark.slow

_BASE = ["dataset=synthetic", "dataset.num_train_samples=600", "network=tiny_cnn", "optimizer.learning_rate=0.1"]
_STEPWISE = st.fixed_dictionaries(
    {},
    optional={
        "schedule.batch_size": st.sampled_from([16, 32, 64]),
        "schedule.batch_growth": st.sampled_from([1, 2, 4]),
        "schedule.learning_rate_decay": st.sampled_from([0.25, 0.375, 0.5, 0.75, 1]),
        "schedule.every_epochs": st.sampled_from([1, 2]),
        "schedule.warmup_epochs": st.sampled_from([0, 1]),
        "schedule.learning_rate_exponent": st.sampled_from([0.5, 1]),
        "schedule.max_batch_size": st.sampled_from([64, "null"]),
    },
)
_RAMP = st.fixed_dictionaries(
    {"schedule": st.just("linear_ramp"), "schedule.batch_size": st.sampled_from([16, 32])},
    optional={
        "schedule.final_batch_size": st.sampled_from([64, 128]),
        "schedule.hold_batch_size": st.booleans(),
        "schedule.learning_rate_decay": st.sampled_from([0.25, 0.5]),
    },
)
_OTHERS = st.fixed_dictionaries(
    {},
    optional={
        "optimizer.learning_rate": st.sampled_from([0.1, 0.2, 0.4]),
        "optimizer.momentum": st.sampled_from([0.9, 0.5]),
        "num_epochs": st.sampled_from([4, 3]),
        "hardware.precision": st.sampled_from(["fp32", "bf16"]),
        "hardware.num_threads": st.sampled_from([1, 2]),
        "hardware.profile": st.booleans(),
        "dataset.partial_batch": st.sampled_from(["keep", "drop"]),
        "dataset.num_workers": st.sampled_from([0, 4]),
        "dataset.root": st.sampled_from(["here", "there"]),
        "tracker": st.sampled_from(["none", "wandb"]),
        "checkpoint.every_epochs": st.sampled_from([1, 2]),
        "max_micro_batch_size": st.sampled_from([16, "null"]),
    },
)


@st.composite
def arms(draw: st.DrawFn) -> dict[str, Any]:
    """A baseline and up to two other arms, one of them perhaps its twin; most keys agree, as in a real sweep."""
    shared = draw(_OTHERS)

    def one() -> list[str]:
        schedule = draw(st.one_of(_STEPWISE, _STEPWISE, _RAMP))
        base = {} if "schedule" in schedule else {"schedule": "adabatch", "schedule.every_epochs": 1}
        own = draw(st.one_of(st.just({}), st.just({}), _OTHERS))
        return [f"{key}={_word(value)}" for key, value in {**base, **shared, **schedule, **own}.items()]

    found: dict[str, Any] = {"small": one(), "other": one()}
    if draw(st.booleans()):
        found["twin"] = "twin(small)"
    return found


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def expanded(found: dict[str, Any], folder: Path, num_seeds: int = 1) -> Expansion | None:
    seeds = list(range(num_seeds))
    sweep = SweepConfig(name="generated", overrides=[*_BASE, "num_epochs=4"], seeds=seeds, baseline="small", arms=found)
    try:
        return expand(sweep, [], folder)
    except ValueError:  # two arms with equal configs, or values that do not go together
        return None


def write_as_if_trained(run: Run) -> None:
    folder = RunDir(run.run_dir)
    folder.path.mkdir(parents=True)
    save_config(run.config, folder.config)
    facts = LaunchFacts(sweep="generated", arm=run.arm, cell=run.cell, baseline=run.baseline, swept=run.swept)
    threads = run.config.hardware.num_threads
    update_meta(folder, config_hash=config_hash(run.config), torch="2", num_threads=threads, launch=facts)
    write_epochs_csv(folder.epochs, rows(run.config))
    mark_done(folder, "made up")


def rows(config: TrainConfig) -> list[EpochRow]:
    data, written, updates, samples = config.dataset, [], 0, 0
    numbers = {entry.name: 0.0 for entry in dataclasses.fields(EpochRow) if entry.name != "peak_memory_bytes"}
    for plan in tabulate(config.build_schedule(), config.num_epochs, data.num_train_samples, data.partial_batch):
        updates, samples = updates + plan.num_updates, samples + plan.num_samples
        known = {
            "epoch": plan.epoch, "updates": updates, "samples": samples, "batch_size": plan.batch_size,
            "learning_rate": plan.learning_rate, "test_accuracy": 1 - 1 / (1 + plan.epoch),
            "elapsed_seconds": float(samples),
            "micro_batch_size": plan.batch_size, "accumulation_steps": 1, "world_size": 1,
            "train_seconds": float(plan.num_samples), "forward_seconds": float(plan.num_samples),
        }  # fmt: skip
        written.append(EpochRow(**{**numbers, **known, "test_top5_accuracy": None}))  # type: ignore[arg-type]
    return written


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(found=arms())
def test_what_lint_lets_pass_tables_accept_and_what_tables_refuse_lint_has_named(found: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        expansion = expanded(found, Path(folder))
        if expansion is None:
            return
        findings = lint(expansion)
        for run in expansion.runs:
            write_as_if_trained(run)
        matching = analysis.compare(analysis.load(expansion.folder)).matching
        named = {(finding.arm, finding.sentence) for finding in findings}
        refused = records(matching.refused)
        for row in refused:
            sentence = f"{row['key']} is {row['value']}, the baseline's is {row['baseline_value']}."
            if row["baseline"] == "small":  # the sweep's own; tables add the arm that is fixed at a growing one's start
                assert (row["arm"], sentence) in named
        comparing = {"rate-differs", "boundaries-differ", "exponent-differs", "warmup-differs", "config-differs"}
        comparing |= {"epochs-differ", "micro-batch-differs", "precision-differs", "partial-batch-differs"}
        blamed = {finding.arm for finding in findings if finding.level == ERROR and finding.code in comparing}
        assert {row["arm"] for row in refused if row["baseline"] == "small"} == blamed


def test_a_large_fixed_batch_with_any_constant_factor_is_compared_and_marked() -> None:
    """Unscaled, scaled by the root and linearly, by the optimizer's key and by the warm-up of the schedule."""
    large = ["schedule=fixed", "schedule.batch_size=64", "schedule.every_epochs=1"]
    found = {
        "small": ["schedule=fixed", "schedule.batch_size=16", "schedule.every_epochs=1"],
        "unscaled": large,
        "root": [*large, "optimizer.learning_rate=0.2"],
        "linear": [*large, "optimizer.learning_rate=0.4"],
    }
    with tempfile.TemporaryDirectory() as folder:
        expansion = expanded(found, Path(folder), num_seeds=2)
        assert expansion is not None
        assert not [finding for finding in lint(expansion) if finding.level == ERROR]
        for run in expansion.runs:
            write_as_if_trained(run)
        matching = analysis.compare(analysis.load(expansion.folder)).matching
    assert len(matching.refused) == 0
    assert len(matching.pairs) == 6
    found_marks = {
        arm: [sentence for sentence in sentences if not sentence.startswith("not known of either run")]
        for (_, arm, _), sentences in matching.marks.items()
    }
    marks = {arm: " ".join(sentences) for arm, sentences in found_marks.items() if sentences}
    # the learning rate per sample is 0.1 / 64, 0.2 / 64 and 0.4 / 64, against 0.1 / 16
    assert "is 0.25 times the baseline's throughout" in marks["unscaled"]
    assert "is 0.5 times the baseline's throughout" in marks["root"]
    assert "linear" not in marks
    notes = {finding.arm: finding.sentence for finding in lint(expansion) if finding.code == "start-rate-differs"}
    assert {arm: sentence.rstrip(".").lower() for arm, sentence in notes.items()} == {
        arm: marks[arm].lower() for arm in ("unscaled", "root")
    }


def test_arms_that_start_at_one_batch_size_must_start_at_one_learning_rate() -> None:
    found = {"small": ["schedule=fixed"], "other": ["schedule=adabatch", "optimizer.learning_rate=0.2"]}
    with tempfile.TemporaryDirectory() as folder:
        expansion = expanded(found, Path(folder))
        assert expansion is not None
        assert "rate-differs" in {finding.code for finding in lint(expansion)}
