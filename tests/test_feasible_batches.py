"""Batches that cannot be computed are known before the start; lint and the trainer say the same sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.measure.feasible import doubts
from adabatch.run import run_config
from adabatch.schedules import Progress
from launch.config import load_sweep
from launch.expand import expand
from launch.lint import lint
from tests.launch.support import write_sweep

#: At 32 pixels, its last norms see one value for each sample and channel.
_WORDS = (
    "network=torchvision", "network.name=torchvision.resnet18", "dataset=synthetic", "dataset.image_size=32",
    "dataset.num_test_samples=8", "hardware.num_threads=1", "schedule=milestones", "num_epochs=3",
)  # fmt: skip


def words(num_samples: int, stages: tuple[int, int], *others: str) -> list[str]:
    """Return the words of a run with one batch size in epoch 1 and another one from epoch 2 on."""
    growth = f"schedule.batch_growth={stages[1] / stages[0]}"
    size = f"schedule.batch_size={stages[0]}"
    return [*_WORDS, f"dataset.num_train_samples={num_samples}", size, growth, "schedule.milestones=[1]", *others]


def found(*args, **keywords) -> list[str]:
    return [doubt.code for doubt in doubts(compose(words(*args, **keywords)))]


@pytest.mark.parametrize(
    ("num_samples", "stages", "others", "place"),
    [
        # 77 = 7 x 11 = 4 x 19 + 1
        (77, (11, 19), (), "epoch 2 has an update of 1 sample,"),
        # 12 samples in micro-batches of at most 11: 6 and 6; 25 = 2 x 12 + 1
        (25, (12, 12), ("max_micro_batch_size=11",), "epoch 1 has an update of 1 sample,"),
        # The rest of 45 - 2 x 20 = 5 over 3 ranks: 2, 2, 1
        (45, (20, 20), ("hardware.num_devices=3",), "epoch 1 has an update of 5 samples,"),
        # 2 samples in micro-batches of at most 1
        (64, (2, 2), ("max_micro_batch_size=1",), "epoch 1 has an update of 2 samples,"),
        # 30 = 2 x 15, then 7 samples each: 4 x 7 + 2, and 2 over 2 ranks: 1, 1
        (30, (15, 7), ("hardware.num_nodes=2",), "epoch 2 has an update of 2 samples,"),
        (77, (11, 19), ("batch_norm=ghost", "ghost_batch_size=4"), "epoch 2 has an update of 1 sample,"),
        (77, (11, 19), ("batch_norm=sync",), "epoch 2 has an update of 1 sample,"),
    ],
)
def test_a_single_sample_is_found_in_every_stage_and_on_every_rank(num_samples, stages, others, place):
    [doubt] = [one for one in doubts(compose(words(num_samples, stages, *others))) if one.stops]
    assert doubt.code == "single-sample-batch"
    assert doubt.sentence.startswith(place)


def test_what_can_be_computed_is_not_doubted():
    assert found(77, (11, 19), "dataset.partial_batch=drop") == []
    assert found(79, (11, 19)) == []  # 79 = 7 x 11 + 2 = 4 x 19 + 3
    assert found(77, (11, 19), "network=resnet14", "network.name=resnet14") == []  # norms over 8 x 8 values at least
    assert found(45, (20, 20), "hardware.num_devices=3", "batch_norm=sync") == []  # normalizes over all 5


def test_a_ghost_batch_of_one_and_idle_ghosts_are_notes():
    # 64 in micro-batches of 16: ghosts of 5, 5, 5, 1
    [doubt] = doubts(compose(words(64, (16, 16), "batch_norm=ghost", "ghost_batch_size=5")))
    assert (doubt.code, doubt.stops) == ("single-sample-batch", False)
    assert "micro-batches of 16 samples end with a ghost batch of 1" in doubt.sentence
    assert found(64, (16, 32), "batch_norm=ghost", "ghost_batch_size=33") == ["ghost-batch-too-large"]
    assert found(64, (16, 32), "batch_norm=ghost", "ghost_batch_size=32") == []


def test_lint_and_the_trainer_say_the_same(tmp_path: Path):
    overrides = words(77, (11, 19), "schedule.warmup_epochs=9")
    [warning, error] = [f"{doubt.sentence} {doubt.remedy}" for doubt in doubts(compose(overrides))]
    assert warning.startswith("schedule.warmup_epochs is 9, but the training has 3 epochs")
    with pytest.raises(ConfigError) as refused:
        run_config(compose([*overrides, f"run_dir={tmp_path / 'run'}"]))
    assert str(refused.value) == error
    assert not (tmp_path / "run").exists()
    sweep = f"name: one\noverrides: {overrides}\nbaseline: a\narms: {{a: []}}\n".replace('"', "'")
    write_sweep(tmp_path, "one", sweep)
    findings = lint(expand(load_sweep("one", {}, tmp_path), [], tmp_path / "runs", tmp_path))
    said = {f"{finding.sentence} {finding.remedy}": finding.level for finding in findings}
    assert (said[warning], said[error]) == ("error", "error")


@pytest.mark.parametrize(
    ("others", "sentence"),
    [
        (["schedule.batch_growth=1e200", "num_epochs=12", "schedule.milestones=[2,4,6,8]"], "learning rate of epoch"),
        (
            ["optimizer.learning_rate=1e-323", "schedule.learning_rate_decay=0.1"],
            "the learning rate of epoch 2 is 0; it must be a positive number",
        ),
        (["num_epochs=100001"], "num_epochs is 100001; it must be at least 1 and at most 100,000."),
        (["hardware.num_nodes=17", "hardware.num_devices=1000"], "num_nodes is 17; it must be at most 16"),
        (["schedule.batch_size=3000000000"], "schedule.batch_size is 3000000000; it must be .* at most 2,147,483,647"),
        (["dataset.num_workers=5000"], "dataset.num_workers is 5000; it must be at least 0 and at most 1,024"),
    ],
)
def test_what_overflows_and_absurd_counts_are_refused(others, sentence):
    with pytest.raises(ConfigError, match=sentence):
        compose(words(64, (16, 8), *others)).build_schedule()


def test_a_batch_that_outgrows_all_numbers_is_capped():
    overrides = [*words(64, (8, 16)), "schedule.milestones=[1,2,3]", "num_epochs=4", "schedule.batch_growth=1e150"]
    schedule = compose([*overrides, "schedule.learning_rate_decay=1", "schedule.learning_rate_exponent=0"])
    decided = [schedule.build_schedule().decide(Progress(epoch=epoch)) for epoch in (1, 2, 4)]
    assert [one.batch_size for one in decided] == [8, 64, 64]
    assert [one.learning_rate for one in decided] == [0.01] * 3
