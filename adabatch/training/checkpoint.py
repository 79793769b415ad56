"""Checkpoints: the whole state of a run, written atomically and read without executing code; two are kept.

A checkpoint is a ZIP archive, as torch writes it, in which every part has a checksum (CRC-32). torch does not compare
them when it loads one, so that a flipped bit would become another weight; here they are compared first.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import torch

from adabatch.config import TrainConfig, config_hash, matches_hash
from adabatch.errors import CheckpointMismatch, CheckpointUnreadable
from adabatch.files import write_bytes_atomic
from adabatch.reading import Unreadable, open_to_read, reason
from adabatch.rundir.attempts import record_damage
from adabatch.rundir.files import RunDir

FORMAT_VERSION = 1
_PIECE_BYTES = 1 << 20
#: What reading a damaged archive raises.
_DAMAGE = (
    Unreadable, OSError, RuntimeError, EOFError, ValueError, KeyError, NotImplementedError, struct.error,
    zipfile.BadZipFile, pickle.UnpicklingError,
)  # fmt: skip
_log = logging.getLogger(__name__)


def save_checkpoint(run_dir: RunDir, config: TrainConfig, state: dict[str, Any]) -> None:
    """Write ``state`` as the last checkpoint and keep the previous one.

    At least one of the two files is intact whenever the process dies.

    Raises:
        OSError: if the disk is full; both files are then unchanged.
    """
    content = io.BytesIO()
    with _checksums():
        torch.save({"format_version": FORMAT_VERSION, "config_hash": config_hash(config), "state": state}, content)
    write_bytes_atomic(run_dir.fresh_checkpoint, content.getvalue())
    if run_dir.checkpoint.exists():
        os.replace(run_dir.checkpoint, run_dir.previous_checkpoint)
    os.replace(run_dir.fresh_checkpoint, run_dir.checkpoint)


@contextlib.contextmanager
def _checksums() -> Iterator[None]:
    """Let torch write checksums within the block, even if the user's code asked it not to."""
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(True)
    try:
        yield
    finally:
        torch.serialization.set_crc32_options(before)


def load_checkpoint(run_dir: RunDir, config: TrainConfig, *, is_main: bool = True) -> dict[str, Any] | None:
    """Return the state of the last sound checkpoint; None if there is none.

    A damaged one is passed over, with a warning and a record in ``attempts.jsonl``, and set aside, so that the next one
    that is saved does not push the sound one out. If both are damaged, the run fails: to start it anew in silence would
    hide that seconds and samples were lost.

    Args:
        is_main: whether this process writes the files of the run.

    Raises:
        CheckpointUnreadable: if there are checkpoints and all are damaged.
        CheckpointMismatch: if it belongs to another config or has a newer format.
    """
    existing = [path for path in (run_dir.checkpoint, run_dir.previous_checkpoint) if os.path.lexists(path)]
    damages = []
    for path in existing:
        try:
            checkpoint = _read(path)
        except _DAMAGE as error:
            damages.append(f"{path.name} is damaged ({reason(error)})")
            continue
        _check(path, checkpoint, config)
        if damages and is_main:
            _set_aside(run_dir, f"{damages[0]}; the run continues from the one before it, {path.name}")
        state: dict[str, Any] = checkpoint["state"]
        return state
    if existing:
        raise CheckpointUnreadable(
            f"{' and '.join(damages)} in {run_dir.path}; delete the checkpoints to start from scratch"
        )
    return None


def _set_aside(run_dir: RunDir, sentence: str) -> None:
    _log.warning("%s", sentence)
    record_damage(run_dir.path, sentence)
    os.replace(run_dir.checkpoint, run_dir.damaged_checkpoint)


def _read(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds.

    Raises:
        Unreadable: or another of `_DAMAGE`, if it is damaged or no checkpoint.
    """
    with open_to_read(path) as file:
        _compare_checksums(file)
        file.seek(0)
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(checkpoint, dict) or not {"format_version", "config_hash", "state"} <= checkpoint.keys():
        raise Unreadable("it is not an adabatch checkpoint")
    if not isinstance(checkpoint["format_version"], int) or not isinstance(checkpoint["state"], dict):
        raise Unreadable("it holds no state")
    return checkpoint


def _compare_checksums(file: IO[bytes]) -> None:
    """Raise BadZipFile if a part of the archive does not have its checksum, Unreadable if torch never writes it."""
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise Unreadable("its parts are compressed")
        for part in parts:
            with archive.open(part) as stream:
                while stream.read(_PIECE_BYTES):
                    pass


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
