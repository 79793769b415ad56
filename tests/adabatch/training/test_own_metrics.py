"""Metrics of the user's own in a run of several ranks: their values are those of one process."""

from __future__ import annotations

from pathlib import Path

import pytest

from adabatch.config.compose import compose
from adabatch.run import run_config
from adabatch.rundir.files import RunDir
from tests.adabatch.support import read_rows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm")]

OWN_WORK = Path(__file__).parents[2] / "own_work"
COUNTED = (
    "network=my_counted:RightUpTo256", "dataset=my_counted:Numbered", "schedule.batch_size=8", "num_epochs=2",
    "hardware.num_threads=1", "metrics.recall=my_metrics:Recall", "metrics.in_place=my_counted:InPlace",
    "metrics.seen=my_counted:Waiting",
)  # fmt: skip


@pytest.fixture(autouse=True)
def in_the_folder_of_own_work(monkeypatch):
    monkeypatch.chdir(OWN_WORK)


# Batches of 256 samples: with two ranks, the second one's last has 5, or it has none and the first one's has 7.
@pytest.mark.parametrize("num_samples", [261, 519])
@pytest.mark.parametrize("ranks", [1, 2])
def test_metrics_see_every_sample_once_and_in_order(num_samples, ranks, tmp_path):
    given = (f"dataset.args.num_test_samples={num_samples}", f"hardware.num_devices={ranks}", f"run_dir={tmp_path}")
    assert run_config(compose([*COUNTED, *given])) == 0
    rows = read_rows(RunDir(tmp_path))
    # From 256 on every sample is taken for class 1. Of 261, these are 256 to 260 with the classes 0, 1, 2, 3, 0, so
    # 64 of 66 of class 0 are found, and 64 of 65 of classes 2 and 3. Of 519, 64 of 130 of classes 0, 1 and 2.
    smallest = {261: 64 / 66, 519: 64 / 130}[num_samples]
    assert [float(row["recall"]) for row in rows] == pytest.approx([smallest] * 2, rel=1e-6)
    assert [float(row["in_place"]) for row in rows] == [num_samples] * 2
    assert [float(row["seen"]) for row in rows] == [num_samples] * 2
