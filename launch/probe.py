"""One ``max_micro_batch_size`` for all arms of a cell, where ``auto`` was asked for: measured where the runs run."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from adabatch.config import CONF_DIR, load_config, save_config
from adabatch.errors import ConfigError
from adabatch.run_dir import RunDir
from launch.bookkeeping import LaunchFolder
from launch.config import ClusterConfig
from launch.expand import Expansion, Run
from launch.plan import epoch_rows
from launch.prepare import has_started, with_threads
from launch.slurm_submit import run_command_on_slurm


def fix_micro_batch(chosen: Sequence[Run], expansion: Expansion, cluster: ClusterConfig) -> list[Run]:
    """Replace ``max_micro_batch_size=auto`` by a number, the same for all runs of a cell.

    A cell that has a started run keeps that run's number. Else the config with the largest batch of the cell is
    measured: on this machine, or by a short SLURM job, which is waited for.

    Raises:
        ConfigError: if the measurement fails.
    """
    caps: dict[str, int] = {}
    fixed = []
    for run in chosen:
        if run.config.max_micro_batch_size == "auto":
            if run.cell not in caps:
                siblings = [other for other in expansion.runs if other.cell == run.cell]
                caps[run.cell] = _earlier_cap(siblings) or _measure(siblings, expansion.folder, cluster)
            run = dataclasses.replace(run, config=dataclasses.replace(run.config, max_micro_batch_size=caps[run.cell]))
        fixed.append(run)
    return fixed


def _earlier_cap(runs: Sequence[Run]) -> int | None:
    for run in runs:
        if run.config.max_micro_batch_size == "auto" and has_started(run.run_dir):
            cap = load_config(RunDir(run.run_dir).config).max_micro_batch_size
            if isinstance(cap, int):
                return cap
    return None


def _measure(runs: Sequence[Run], sweep_folder: Path, cluster: ClusterConfig) -> int:
    asked = [run for run in runs if run.config.max_micro_batch_size == "auto"]
    largest = max(asked, key=lambda run: max(row.batch_size for row in epoch_rows(run.config)))
    folder = LaunchFolder(sweep_folder).path / "micro_batch" / largest.cell
    folder.mkdir(parents=True, exist_ok=True)
    config_file, answer = (folder / "config.yaml").resolve(), (folder / "measured.json").resolve()
    answer.unlink(missing_ok=True)
    save_config(with_threads(largest.config, cluster), config_file)
    print(f"measuring max_micro_batch_size for {largest.cell}", flush=True)
    words = ["-m", "adabatch.micro_batch", str(config_file), str(answer)]
    if cluster.kind == "slurm":
        reason = run_command_on_slurm(words, largest.config, cluster, folder)
    else:
        path = os.pathsep.join(filter(None, [str(CONF_DIR.parent), os.environ.get("PYTHONPATH")]))
        ended = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
        )
        reason = ended.stderr
    if not answer.exists():
        last = (reason.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"max_micro_batch_size is auto, but measuring it failed: {last}")
    measured = json.loads(answer.read_text(encoding="utf-8"))
    cap = int(measured["max_micro_batch_size"])
    print(f"max_micro_batch_size is {cap} for {largest.cell}: {measured.get('reason', '')}", flush=True)
    return cap
