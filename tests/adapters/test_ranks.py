"""The adapters on two ranks: each sample once an epoch over both, and the weights of one rank with whole batches."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from adabatch.files import SOURCE_DIR
from tests.adapters.linear_task import NUM_SAMPLES, by_hand

pytestmark = [pytest.mark.adapters, pytest.mark.slow, pytest.mark.filterwarnings("default")]

#: Passes of a rank in epochs 1, 2 and 3, of at most 3 samples: the ranks' parts are 2 + 2 of 4 samples, 1 + 0 of the
#: rest of 1; 4 + 4 of 8, in two passes, and 3 + 2 of the rest of 5; 8 + 8 of 16, in three passes, and 3 + 2 again.
PASSES = (5 + 1, 2 + 2 + 1, 3 + 1)


def train_on_two_ranks(words: list[str], folder: Path) -> list[dict[str, Any]]:
    """Run a command, and return what each rank saw and ended with."""
    path = os.pathsep.join(filter(None, [str(SOURCE_DIR), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    answer = subprocess.run(
        [sys.executable, *words, str(folder)], cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


def script(name: str) -> str:
    return str(Path(__file__).parent / name)


def check(ranks: list[dict[str, Any]]) -> None:
    assert [len(rank["seen"]) for rank in ranks] == [sum(PASSES)] * 2
    start = 0
    for epoch, passes in enumerate(PASSES, 1):
        seen = [rank["seen"][start : start + passes] for rank in ranks]
        counts = Counter(index for rank in seen for batch in rank for index in batch)
        # The first epoch ends with an update of one sample, which the rank without one repeats at the weight 0.
        repeated = {seen[0][-1][0]} if epoch == 1 else set()
        assert counts == {index: 2 if index in repeated else 1 for index in range(NUM_SAMPLES)}
        start += passes
    for rank in ranks:
        torch.testing.assert_close(rank["weights"], by_hand(), rtol=1e-12, atol=1e-14)


def test_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    check(train_on_two_ranks([script("lightning_rank.py")], tmp_path))


def test_hugging_face(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    check(train_on_two_ranks([*launcher, script("hugging_face_rank.py")], tmp_path))
