"""A process that trains collects garbage while it trains, and never looks through what it only imported."""

from __future__ import annotations

import gc

import pytest

from tests.adabatch.support import TINY, run_command

pytestmark = pytest.mark.slow

NETWORK = """
import gc, sys
from torch import nn

class Watching(nn.Linear):
    def __init__(self, num_classes):
        super().__init__(64, num_classes)

    def forward(self, images):
        print(gc.isenabled(), gc.get_freeze_count() > 10 * len(sys.modules))
        return super().forward(images.flatten(1))
"""


def test_training_collects_garbage_but_not_among_what_was_imported(tmp_path):
    (tmp_path / "watching.py").write_text(NETWORK)
    answer = run_command(*TINY, "network=watching:Watching", "num_epochs=1", "run_dir=run", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    # 60 samples in batches of 8; before that the network is tried out, and then nothing is collected yet
    assert answer.stdout.splitlines()[-8:] == ["True True"] * 8


def test_a_process_that_is_not_ours_keeps_its_collector_as_it_is(train):
    before = gc.get_freeze_count()
    gc.disable()
    try:
        train("num_epochs=1")
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert gc.get_freeze_count() <= before
