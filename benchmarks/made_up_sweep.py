"""A sweep of any size whose runs were never trained, to measure commands that read many runs."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import yaml

from adabatch.config import TrainConfig, save_config
from adabatch.rundir.columns import EpochRow, write_epochs_csv
from adabatch.schedules import tabulate
from launch.config import load_sweep
from launch.expand import Run, expand

NAME = "made_up"
_NETWORKS = ["alexnet", "resnet20", "resnet56", "vgg11_bn", "vgg19_bn"]
_ARMS = {
    "fixed_small": ["schedule=fixed", "schedule.batch_size=128"],
    "fixed_start": ["schedule=fixed", "schedule.batch_size=256"],
    "adaptive": ["schedule=adabatch", "schedule.batch_size=128"],
    "fixed_large": ["schedule=fixed", "schedule.batch_size=2048"],
}
_SECONDS_PER_UPDATE, _SECONDS_PER_SAMPLE = 0.01, 0.001
_SPAN_SHARES = {"data": 0.05, "forward": 0.3, "backward": 0.6, "update": 0.05}


def write_sweep_option(config_dir: Path, num_runs: int, num_epochs: int) -> int:
    """Write ``sweep/made_up.yaml``; return how many runs it has: ``num_runs``, rounded up to whole seeds."""
    per_seed = len(_NETWORKS) * len(_ARMS)
    num_seeds = math.ceil(num_runs / per_seed)
    option = {
        "name": NAME,
        "overrides": ["dataset=fashion_mnist", f"num_epochs={num_epochs}"],
        "grid": {"network": _NETWORKS},
        "seeds": list(range(num_seeds)),
        "baseline": "fixed_small",
        "arms": _ARMS,
    }
    folder = config_dir / "sweep"
    folder.mkdir(parents=True)
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(option), encoding="utf-8")
    return num_seeds * per_seed


def write_runs(config_dir: Path, runs_dir: Path) -> Path:
    """Write a run directory for every run of the sweep, as if trained; return the sweep's folder."""
    expansion = expand(load_sweep(NAME, {}, config_dir), [], runs_dir, config_dir)
    for run in expansion.runs:
        _write_run(run)
    return expansion.folder


def _write_run(run: Run) -> None:
    folder = run.run_dir
    folder.mkdir(parents=True)
    save_config(run.config, folder / "config.yaml")
    launch = {"sweep": NAME, "arm": run.arm, "cell": run.cell, "baseline": run.baseline, "swept": run.swept}
    origin = {"git_sha": "0" * 40, "git_dirty": False, "torch": "made up", "device": "cpu", "device_model": "made up"}
    (folder / "meta.json").write_text(json.dumps({**origin, "launch": launch}), encoding="utf-8")
    _write_epochs(folder / "epochs.csv", run.config, random.Random(run.name))
    (folder / "summary.json").write_text(json.dumps({"state": "done", "cause": None}), encoding="utf-8")
    (folder / "DONE").write_text("made up\n", encoding="utf-8")


def _write_epochs(path: Path, config: TrainConfig, noise: random.Random) -> None:
    data = config.dataset
    schedule = config.build_schedule()
    updates, samples, elapsed_seconds, rows = 0, 0, 0.0, []
    for plan in tabulate(schedule, config.num_epochs, data.num_train_samples, data.partial_batch):
        seconds = _SECONDS_PER_UPDATE * plan.num_updates + _SECONDS_PER_SAMPLE * plan.num_samples
        seconds *= noise.uniform(0.98, 1.02)
        updates += plan.num_updates
        samples += plan.num_samples
        elapsed_seconds += seconds
        spans: dict[str, Any] = {f"{span}_seconds": share * seconds for span, share in _SPAN_SHARES.items()}
        loss = 2.3 / plan.epoch + noise.uniform(0.2, 0.25)
        rows.append(
            EpochRow(
                epoch=plan.epoch,
                updates=updates,
                samples=samples,
                batch_size=plan.batch_size,
                micro_batch_size=plan.batch_size,
                accumulation_steps=1,
                world_size=1,
                learning_rate=plan.learning_rate,
                train_loss=loss,
                train_accuracy=math.exp(-loss),
                test_loss=loss + 0.1,
                test_accuracy=math.exp(-loss - 0.1),
                train_seconds=seconds,
                **spans,
                growth_seconds=0.0,
                test_seconds=1.0,
                elapsed_seconds=elapsed_seconds,
                test_top5_accuracy=None,
                samples_dropped=plan.samples_dropped,
                save_seconds=0.1,
            )
        )
    write_epochs_csv(path, rows)
