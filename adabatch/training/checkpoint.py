"""Checkpoints: the whole state of a run, written atomically and read without executing code; two are kept."""

from __future__ import annotations

import io
import logging
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from adabatch.config import TrainConfig, config_hash, matches_hash
from adabatch.errors import CheckpointMismatch, CheckpointUnreadable
from adabatch.files import write_bytes_atomic
from adabatch.rundir.files import RunDir

FORMAT_VERSION = 1
_log = logging.getLogger(__name__)


def save_checkpoint(run_dir: RunDir, config: TrainConfig, state: dict[str, Any]) -> None:
    """Write ``state`` as the last checkpoint and keep the previous one.

    At least one of the two files is intact whenever the process dies.

    Raises:
        OSError: if the disk is full; both files are then unchanged.
    """
    content = io.BytesIO()
    torch.save({"format_version": FORMAT_VERSION, "config_hash": config_hash(config), "state": state}, content)
    fresh = run_dir.checkpoint.with_suffix(".new.pt")
    write_bytes_atomic(fresh, content.getvalue())
    if run_dir.checkpoint.exists():
        os.replace(run_dir.checkpoint, run_dir.previous_checkpoint)
    os.replace(fresh, run_dir.checkpoint)


def load_checkpoint(run_dir: RunDir, config: TrainConfig) -> dict[str, Any] | None:
    """Return the state of the last readable checkpoint; None if there is none.

    Raises:
        CheckpointUnreadable: if no existing checkpoint can be read.
        CheckpointMismatch: if it belongs to another config or has a newer format.
    """
    existing = [path for path in (run_dir.checkpoint, run_dir.previous_checkpoint) if path.exists()]
    for path in existing:
        checkpoint = _read(path)
        if checkpoint is not None:
            _check(path, checkpoint, config)
            state: dict[str, Any] = checkpoint["state"]
            return state
    if existing:
        names = " and ".join(path.name for path in existing)
        raise CheckpointUnreadable(f"{names} in {run_dir.path} cannot be read; delete them to start from scratch")
    return None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        _log.warning("%s cannot be read (%s)", path, str(error).splitlines()[0] if str(error) else type(error).__name__)
        return None
    if not isinstance(checkpoint, dict) or not {"format_version", "config_hash", "state"} <= checkpoint.keys():
        _log.warning("%s is not an adabatch checkpoint", path)
        return None
    return checkpoint


def _check(path: Path, checkpoint: dict[str, Any], config: TrainConfig) -> None:
    if checkpoint["format_version"] > FORMAT_VERSION:
        raise CheckpointMismatch(
            f"{path} has format {checkpoint['format_version']}; this version reads up to {FORMAT_VERSION}: "
            "use the version that wrote it"
        )
    recorded = str(checkpoint["config_hash"])
    is_of_config = matches_hash(config, recorded)
    if is_of_config is None:
        raise CheckpointMismatch(
            f"{path} has the config hash {recorded}, made by a rule unknown to this version: "
            "use the version that wrote it"
        )
    if not is_of_config:
        raise CheckpointMismatch(
            f"{path} belongs to a run with config hash {recorded}; this run's is {config_hash(config)}"
        )
