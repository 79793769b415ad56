"""A checkpoint that is not as it was written is never resumed: the one before it is, and the run says so."""

from __future__ import annotations

import hashlib
import io
import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from adabatch.config import load_config
from adabatch.errors import CheckpointUnreadable, ConfigError
from adabatch.run import resume_run
from adabatch.rundir.files import RunDir
from adabatch.training.checkpoint import load_checkpoint
from tests.adabatch.support import assert_equal_bits, without_seconds
from tests.conftest import Train

pytestmark = pytest.mark.slow


@pytest.fixture
def whole(train: Train) -> RunDir:
    """A finished run with two checkpoints: after its second and its third epoch."""
    return train("checkpoint.every_epochs=1")


def unfinished(whole: RunDir, name: str) -> RunDir:
    run_dir = RunDir(shutil.copytree(whole.path, whole.path.with_name(name)))
    run_dir.done.unlink()
    return run_dir


def flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def place_of_weights(path: Path) -> int:
    """Return where the first weights lie: after the name of their part, and its padding."""
    content = path.read_bytes()
    return content.index(b"/data/0") + 100


def test_one_bit_of_a_weight_sends_the_run_back_to_the_checkpoint_before(whole: RunDir, caplog) -> None:
    run_dir = unfinished(whole, "flipped")
    flip(run_dir.checkpoint, place_of_weights(run_dir.checkpoint), 6)
    assert torch.load(run_dir.checkpoint, weights_only=True)  # torch itself does not notice
    assert resume_run(run_dir.path) == 0
    assert_equal_bits(run_dir, whole)
    assert without_seconds(run_dir) == without_seconds(whole)
    [record] = [json.loads(line) for line in run_dir.attempts.read_text().splitlines()]
    sentence = record["sentence"]
    assert record["event"] == "damage"
    assert sentence.startswith("checkpoint.pt is damaged (Bad CRC-32")
    assert sentence.endswith("the run continues from the one before it, checkpoint.previous.pt")
    assert sentence in run_dir.log.read_text()


def test_no_bit_anywhere_changes_what_is_resumed(whole: RunDir) -> None:
    run_dir, config, rng = unfinished(whole, "flipped"), load_config(whole.config), random.Random(1)
    content = run_dir.checkpoint.read_bytes()
    written = [torch.load(path, weights_only=True) for path in (run_dir.checkpoint, run_dir.previous_checkpoint)]
    last, before = (_digest(checkpoint["state"]) for checkpoint in written)
    num_damaged = 0
    for _ in range(80):
        run_dir.checkpoint.write_bytes(content)
        flip(run_dir.checkpoint, rng.randrange(len(content)), rng.randrange(8))
        resumed = _digest(load_checkpoint(run_dir, config))
        is_damaged = not run_dir.checkpoint.exists()
        assert resumed == (before if is_damaged else last)
        num_damaged += is_damaged
    assert num_damaged > 50  # the other bits mean nothing: padding


def _digest(state: dict[str, Any] | None) -> bytes:
    content = io.BytesIO()
    torch.save(state, content)
    return hashlib.sha256(content.getvalue()).digest()


def test_with_both_damaged_the_run_fails_instead_of_starting_anew(whole: RunDir) -> None:
    run_dir = unfinished(whole, "flipped")
    for path in (run_dir.checkpoint, run_dir.previous_checkpoint):
        flip(path, place_of_weights(path))
    with pytest.raises(CheckpointUnreadable, match=r"checkpoint\.pt is damaged .* and checkpoint\.previous\.pt is"):
        load_checkpoint(run_dir, load_config(whole.config))
    assert resume_run(run_dir.path) == 1
    assert run_dir.failed.read_text().startswith("CheckpointUnreadable: ")


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\5\6" + b"\0" * 18])
def test_what_is_no_archive_is_damage(whole: RunDir, content: bytes) -> None:
    run_dir = unfinished(whole, "other")
    run_dir.checkpoint.write_bytes(content)
    assert resume_run(run_dir.path) == 0
    assert_equal_bits(run_dir, whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"progress": (10**9, 0, 0, 0)},
        {"progress": "x"},
        {"rows": []},
        {"seconds": {"data": float("nan")}},
        {"learner": 5},
    ],
)
def test_a_state_that_cannot_be_the_runs_is_a_cause(whole: RunDir, changes: dict[str, object]) -> None:
    run_dir = unfinished(whole, "crafted")
    checkpoint = torch.load(run_dir.checkpoint, weights_only=True)
    checkpoint["state"] |= changes
    torch.save(checkpoint, run_dir.checkpoint)
    assert resume_run(run_dir.path) == 1
    assert run_dir.failed.read_text().startswith("CheckpointMismatch: the checkpoint in ")


def test_a_config_that_was_edited_after_the_start_is_refused(whole: RunDir) -> None:
    run_dir = unfinished(whole, "edited")
    text = run_dir.config.read_text()
    run_dir.config.write_text(text.replace("momentum: 0.9", "momentum: 0.8"))
    assert run_dir.config.read_text() != text
    with pytest.raises(ConfigError, match=r"config\.yaml was changed after the run had started: its hash is 2-"):
        resume_run(run_dir.path)
    run_dir.config.write_text(text)
    assert resume_run(run_dir.path) == 0
