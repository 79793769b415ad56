"""How many ranks train which epochs, and what ``hardware.devices`` may say."""

from __future__ import annotations

import json

import pytest

from adabatch.config import allocation_of, allocations, config_hash, from_dict, load_config, save_config, to_dict
from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.measure.feasible import doubts
from adabatch.measure.forecast import micro_batch_counts

#: Batches of 8, 16, 32 and 64 in two epochs each, of 64 samples.
WORDS = (
    "network=tiny_cnn", "dataset=synthetic", "dataset.num_train_samples=64", "schedule=adabatch",
    "schedule.batch_size=8", "schedule.every_epochs=2", "num_epochs=8",
)  # fmt: skip
FOUR = ("hardware.num_nodes=2", "hardware.num_devices=2", "hardware.devices={8:1, 16:2, 32:4}")


def shapes(*words):
    found = allocations(compose([*WORDS, *words]))
    return [(one.first_epoch, one.last_epoch, one.hardware.num_nodes, one.hardware.num_devices) for one in found]


def test_epochs_with_one_number_of_ranks_are_one_allocation():
    assert shapes(*FOUR) == [(1, 2, 1, 1), (3, 4, 1, 2), (5, 8, 2, 2)]
    assert shapes("hardware.num_devices=4", "hardware.devices={8: 2, 64: 4}") == [(1, 6, 1, 2), (7, 8, 1, 4)]
    assert shapes("hardware.num_devices=4") == [(1, 8, 1, 4)]


def test_a_fixed_batch_keeps_its_ranks():
    """So one value of the key serves all arms of a sweep."""
    assert shapes(*FOUR, "schedule=fixed", "schedule.batch_size=32") == [(1, 8, 2, 2)]
    config = compose([*WORDS, *FOUR])
    assert [one.num_ranks for one in allocations(config)] == [1, 2, 4]
    assert [allocation_of(config, epoch).num_ranks for epoch in (1, 2, 3, 5, 8, 9)] == [1, 1, 2, 4, 4, 4]


def test_the_key_is_saved_hashed_and_replaced_as_a_whole(tmp_path):
    config, plain = compose([*WORDS, *FOUR]), compose([*WORDS, *FOUR[:2]])
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    assert config.hardware.devices == {8: 1, 16: 2, 32: 4}
    assert config_hash(config) != config_hash(plain)
    assert config_hash(json.loads(json.dumps(to_dict(config)))) == config_hash(config)
    (tmp_path / "hardware").mkdir()
    (tmp_path / "hardware" / "mine.yaml").write_text(
        "defaults: [cpu, _self_]\nnum_devices: 2\ndevices: {8: 1, 16: 2}\n"
    )
    assert compose([*WORDS, "hardware=mine"], tmp_path).hardware.devices == {8: 1, 16: 2}
    words = [*WORDS, "hardware=mine", "hardware.devices={32: 2}"]
    assert compose(words, tmp_path).hardware.devices == {32: 2}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ("hardware.devices={}",),
            "hardware.devices is {}; it must be null, or at least one batch size with its number",
        ),
        (("hardware.devices={8: 0}",), "hardware.devices is {8: 0}; it must be null, or at least one batch size"),
        (("hardware.devices=[1,2]",), "hardware.devices is [1, 2]; it must be null or a mapping from whole numbers"),
        (("hardware.devices={small: 1}",), "hardware.devices is {'small': 1}; it must be null or a mapping from whole"),
        (
            ("hardware.devices={8: 1, 16: 2}",),
            "hardware.devices.16 is 2, and hardware.num_nodes x hardware.num_devices is 1 x 1; the largest number must"
            " be all of them.",
        ),
        (
            ("hardware.num_devices=2", "hardware.devices={8: 2, 16: 1}"),
            "hardware.devices.16 is 1; it must be at least 2, the devices of the smaller batch of 8.",
        ),
        (
            ("hardware.num_devices=2", "hardware.num_nodes=2", "hardware.devices={8: 3, 16: 4}"),
            "hardware.devices.8 is 3, and hardware.num_nodes x hardware.num_devices is 2 x 2; it must fill its nodes",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_a_sentence(words, sentence):
    with pytest.raises(ConfigError) as error:
        compose([*WORDS, *words])
    assert sentence in str(error.value)


def test_a_saved_config_is_checked_too():
    values = to_dict(compose([*WORDS, *FOUR]))
    values["hardware"]["devices"] = [8]
    with pytest.raises(ConfigError, match=r"hardware.devices is \[8\]; it must be null"):
        from_dict(values)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("hardware.num_devices=4", "hardware.devices={16: 4}"), "devices-not-planned",
         "hardware.devices begins with a batch of 16, but the schedule has one of 8."),
        (("hardware.num_devices=3", "hardware.devices={8: 1, 16: 3}"), "ranks-do-not-divide",
         "A batch of 16 does not divide evenly over the 3 ranks that hardware.devices gives it."),
        # 8 samples are micro-batches of 3, 3 and 2.
        (("hardware.num_devices=2", "hardware.devices={8: 1, 16: 2}", "max_micro_batch_size=3"), "ranks-do-not-divide",
         "A batch of 8 over 1 rank is 8 samples on each, which 3 micro-batches of at most 3 do not divide"
         " evenly."),
    ],
)  # fmt: skip
def test_batches_that_do_not_go_with_their_ranks_stop_a_run(words, code, sentence):
    found = [doubt for doubt in doubts(compose([*WORDS, *words])) if doubt.stops]
    assert (found[0].code, found[0].sentence) == (code, sentence)


def test_micro_batches_may_be_smaller_than_the_cap():
    """8 samples are two micro-batches of 4, at most 5."""
    words = ("hardware.num_devices=2", "hardware.devices={8: 1, 16: 2}", "max_micro_batch_size=5", "num_epochs=4")
    assert not list(doubts(compose([*WORDS, *words])))


LISTENING = """
from adabatch import Decision, Schedule

class Listening(Schedule):
    constant_within_epoch = True

    def __init__(self, batch_size, learning_rate):
        pass

    def decide(self, progress, signals=None):
        is_good = signals is not None and signals.train_loss is not None and signals.train_loss < 0.1
        return Decision(16 if is_good else 8, 0.1)
"""


def test_a_schedule_that_listens_to_signals_has_no_known_ranks(tmp_path, monkeypatch):
    (tmp_path / "listening.py").write_text(LISTENING)
    monkeypatch.syspath_prepend(tmp_path)
    words = ["schedule=listening:Listening", "hardware.num_devices=2", "hardware.devices={8: 1, 16: 2}"]
    config = compose([*(word for word in WORDS if not word.startswith("schedule.every")), *words])
    [doubt] = [doubt for doubt in doubts(config) if doubt.stops]
    assert doubt.code == "devices-not-planned"
    assert "by what training measures" in doubt.sentence


def test_micro_batches_are_counted_with_the_ranks_of_their_epochs():
    """Two epochs of 64 samples each: 16 micro-batches of 8; 8 of 16 / 2; 4 of 32 / 4, and 2 of 64 / 4 = 16."""
    assert micro_batch_counts(compose([*WORDS, *FOUR])) == {8: 16 + 8 + 4, 16: 2}
