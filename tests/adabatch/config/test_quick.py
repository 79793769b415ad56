"""``--quick``: what is cut down, and that everybody is told."""

from __future__ import annotations

import pytest

from adabatch.config import config_hash, load_config
from adabatch.config.compose import compose
from adabatch.rundir.files import RunDir
from tests.adabatch.support import read_rows, run_command

WORDS = ("network=tiny_cnn", "dataset=fashion_mnist", "quick=true")


def test_few_samples_and_epochs_are_left():
    config = compose([*WORDS, "dataset.validation=0.1"])
    data = config.dataset
    assert (data.num_train_samples, data.num_validation_samples, data.num_test_samples) == (256, 128, 128)
    assert config.num_epochs == 5
    assert config_hash(config) != config_hash(compose(WORDS[:2]))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        # 5 of 100 epochs: boundaries after 1, 2, 3 and 4 instead of 20, 40, 60 and 80.
        (["schedule=adabatch"], {"every_epochs": 1}),
        # A twentieth of 1, 60 and 80 epochs; one epoch at least lies before a boundary.
        (["schedule.every_epochs=null", "schedule.milestones=[1,60,80]"], {"milestones": [1, 3, 4]}),
        (["schedule.warmup_epochs=40"], {"warmup_epochs": 2}),
        (["num_epochs=4", "schedule.every_epochs=2"], {"every_epochs": 2}),
    ],
)
def test_boundaries_move_along(words, expected):
    schedule = compose([*WORDS, *words]).schedule
    assert {key: getattr(schedule, key) for key in expected} == expected


def test_smaller_numbers_than_those_of_a_quick_look_stay():
    config = compose([*WORDS, "num_epochs=2", "dataset.limit=50", "dataset.test_limit=20", "run_dir=mine"])
    assert (config.num_epochs, config.dataset.num_train_samples, config.dataset.num_test_samples) == (2, 50, 20)
    assert config.run_dir == "mine-quick"


@pytest.mark.slow
def test_a_quick_run_says_what_it_is(tmp_path):
    words = ("--quick", "network=tiny_cnn", "dataset=digits")
    answer = run_command(*words, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    [folder] = (tmp_path / "runs" / "single" / "digits-tiny_cnn").iterdir()
    assert folder.name.endswith("-quick")
    assert answer.stdout.startswith("a quick look in runs/single/digits-tiny_cnn/")
    assert "it proves nothing" in answer.stdout
    assert [row["samples"] for row in read_rows(RunDir(folder))] == [str(256 * epoch) for epoch in range(1, 6)]
    assert load_config(folder / "config.yaml").quick
    again = run_command(*words, cwd=tmp_path)
    assert "is already finished" in again.stdout
    assert "--quick" in run_command("--help", cwd=tmp_path).stdout
