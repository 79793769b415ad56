"""Kills and resumes a run at random moments, and compares its end with that of an undisturbed one.

One run is left undisturbed. A second one with the same config is killed (SIGKILL) repeatedly and restarted with the
same command each time, until it is done. Both must end with the same rows, except for seconds and memory, and on
a CPU with bit-identical weights.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adabatch.config import TrainConfig, save_config
from adabatch.config.compose import compose
from adabatch.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, ConfigError
from adabatch.processes.children import child_environment, module_command
from adabatch.rundir.columns import is_reproducible
from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import read_summary
from adabatch.shell.arguments import add_verify_resume
from adabatch.terminal import counted
from adabatch.verb_help import HelpText

#: A run killed before its first checkpoint starts over; so kills come later each time, until a checkpoint exists.
_PATIENCE_GROWTH = 1.15


@dataclass(frozen=True)
class Verdict:
    """The result: how many kills the second run survived, and where the runs differ."""

    kills: int
    differences: list[str]


def verify(config: TrainConfig, folder: Path, kills: int, rng: random.Random) -> Verdict:
    """Train ``config`` undisturbed and again with one to ``kills`` random kills, and compare the results.

    Args:
        folder: where the two run directories are created.
        rng: draws the moments of the kills.

    Raises:
        RuntimeError: if a run fails on its own.
    """
    whole, killed = RunDir(folder / "whole"), RunDir(folder / "killed")
    for run_dir in (whole, killed):
        _prepare(config, run_dir)
    started = time.monotonic()
    _finish(whole)
    seconds = time.monotonic() - started
    done = 0
    patience = seconds
    while done < kills:
        if killed.done.exists():
            if done:
                break
            # No kill came in time, which proves nothing: try again, earlier.
            shutil.rmtree(killed.path)
            _prepare(config, killed)
            patience = seconds = seconds / 2
        if _start_and_kill(killed, rng.uniform(0.0, patience)):
            done += 1
        patience = seconds if killed.checkpoint.exists() else patience * _PATIENCE_GROWTH
    _finish(killed)
    return Verdict(done, differences(whole, killed))


def _prepare(config: TrainConfig, run_dir: RunDir) -> None:
    run_dir.path.mkdir(parents=True)
    save_config(dataclasses.replace(config, run_dir=str(run_dir.path)), run_dir.config)


def _command(run_dir: RunDir) -> list[str]:
    return module_command("adabatch.resume", str(run_dir.path))


def _finish(run_dir: RunDir) -> None:
    answer = subprocess.run(_command(run_dir), env=child_environment(), capture_output=True, text=True)
    if answer.returncode != EXIT_DONE:
        raise RuntimeError(f"the run in {run_dir.path} ended with status {answer.returncode}: {answer.stderr.strip()}")


def _start_and_kill(run_dir: RunDir, after_seconds: float) -> bool:
    """Start the run and kill it after a while; return False if it ended before that."""
    # Its own session, so that a run with several ranks is killed as a whole.
    process = subprocess.Popen(
        _command(run_dir),
        env=child_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(after_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return True
    if process.returncode != EXIT_DONE:
        raise RuntimeError(f"the run in {run_dir.path} ended with status {process.returncode}; see {run_dir.log}")
    return False


def differences(one: RunDir, other: RunDir) -> list[str]:
    """Return what differs between two finished runs: rows (without seconds and memory), ledger, network, optimizer."""
    found = []
    for first, second in zip(_rows(one), _rows(other), strict=False):
        differing = [key for key in first if first[key] != second[key]]
        found += [f"epoch {first['epoch']}: {key} is {first[key]} and {second[key]}" for key in differing]
    if len(_rows(one)) != len(_rows(other)):
        found.append(f"{counted(len(_rows(one)), 'row')} and {counted(len(_rows(other)), 'row')}")
    if read_summary(one).get("ledger") != read_summary(other).get("ledger"):
        found.append("the ledgers differ")
    return found + _differing_tensors(_learner(one), _learner(other), "")


def _rows(run_dir: RunDir) -> list[dict[str, str]]:
    with open(run_dir.epochs, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: value for key, value in row.items() if is_reproducible(key)} for row in rows]


def _learner(run_dir: RunDir) -> Any:
    import torch

    return torch.load(run_dir.checkpoint, map_location="cpu", weights_only=True)["state"]["learner"]


def _differing_tensors(one: Any, other: Any, where: str) -> list[str]:
    import torch

    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if torch.equal(one, other) else [f"{where[1:]} differs"]
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in _differing_tensors(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for n, (a, b) in pairs for found in _differing_tensors(a, b, f"{where}.{n}")]
    return [] if one == other else [f"{where[1:]} is {one} and {other}"]


def main(arguments: list[str] | None = None, program: str = "python -m adabatch.tools.verify_resume") -> int:
    """Run the command and return its exit status: 0 if there was no difference, 1 if there was one."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=__doc__,
        epilog="  adabatch verify-resume network=tiny_cnn dataset=digits num_epochs=3",
        formatter_class=HelpText,
    )
    add_verify_resume(parser)
    options = parser.parse_args(arguments)
    if not options.overrides:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    try:
        config = compose(options.overrides, options.config_dir)
        with tempfile.TemporaryDirectory(prefix="verify-resume-", dir=".") as folder:
            verdict = verify(config, Path(folder), options.kills, random.Random(options.seed))
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    print("\n".join([*verdict.differences, f"{verdict.kills} kills, {len(verdict.differences)} differences"]))
    return EXIT_FAILED if verdict.differences else EXIT_DONE


if __name__ == "__main__":
    sys.exit(main())
