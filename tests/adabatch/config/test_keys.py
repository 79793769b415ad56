"""What each key may change is said once, in the schema, and holds for the hash, for resuming and for help."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from typing import Any

import pytest

from adabatch.config import TrainConfig, config_hash, differences, hashing, keys, matches_hash, to_dict
from adabatch.config.compose import compose, option_names
from adabatch.config.keys import KEYS, all_keys, judged_by_equality, key_of_schema
from adabatch.fields import Changes, JudgedBy, between
from adabatch.schedules import SCHEDULE_KINDS, ScheduleConfig
from adabatch.schedules.base import schedule_key

#: Another sound value than that of ``_config``, where adding one to a number, or turning a switch, does not give one.
_OTHER_VALUES: dict[str, Any] = {
    "network.name": "alexnet",
    "dataset.name": "digits",
    "dataset.partial_batch": "drop",
    "dataset.path": "my_data:load",
    "dataset.args": {"width": 32},
    "dataset.input_shape": [3],
    "dataset.transforms": ["RandomInvert"],
    "dataset.digest": "0123456789abcdef",
    "dataset.root": "elsewhere",
    "dataset.mean": [0.1],
    "dataset.std": [0.1],
    "schedule.max_batch_size": 4096,
    "schedule.learning_rate_exponent": 0.5,
    "schedule.milestones": [1],
    "schedule.batch_sizes": [1],
    "schedule.learning_rate_decays": [0.5],
    "schedule.shape": "polynomial",
    "optimizer.kind": "adamw",
    "optimizer.momentum": 0.5,
    "optimizer.beta1": 0.5,
    "optimizer.beta2": 0.5,
    "hardware.device": "cuda",
    "hardware.precision": "bf16",
    "hardware.compile": True,
    "hardware.cuda_graphs": False,
    "hardware.devices": {1: 1},
    "hardware.num_threads": 3,
    "tracker.kind": "wandb",
    "tracker.mode": "online",
    "tracker.project": "other",
    "tracker.entity": "somebody",
    "tracker.tags": ["first"],
    "tracker.notes": "a note",
    "tracker.run_name": "mine",
    "checkpoint.every_epochs": 7,
    **{f"{group}.path": "my_module:Other" for group in ("network", "optimizer", "schedule", "tracker")},
    **{f"{group}.args": {"width": 32} for group in ("network", "optimizer", "schedule", "tracker")},
    "schedule.name": "other",
    "metrics": {"width": "my_module:Mine"},
    "run_dir": "elsewhere",
    "max_micro_batch_size": 64,
    "batch_norm": "ghost",
}


@functools.cache
def _schedules() -> dict[str, dict[str, Any]]:
    words = {option: f"schedule={option}" for option in option_names("schedule")} | {
        "by_path": "schedule=my_module:Mine"
    }
    return {option: to_dict(compose([word]))["schedule"] for option, word in words.items()}


def _schedule_with(key: str) -> str:
    """Return an option of a kind of schedule that has the key; any for a key of another group."""
    group, _, name = key.rpartition(".")
    return next(option for option, values in _schedules().items() if group != "schedule" or name in values)


@functools.cache
def _composed(schedule: str) -> str:
    word = "my_module:Mine" if schedule == "by_path" else schedule
    return json.dumps(to_dict(compose(["dataset=synthetic", "network=tiny_cnn", f"schedule={word}"])))


def _values(key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a nested config and the same with another value of the key."""
    before, after = (json.loads(_composed(_schedule_with(key))) for _ in range(2))
    group, _, name = key.rpartition(".")
    place = after[group] if group else after
    value = place[name]
    if key in _OTHER_VALUES:
        place[name] = _OTHER_VALUES[key]
    elif isinstance(value, bool):
        place[name] = not value
    else:
        place[name] = (value or 0) + 1
    return before, after


@pytest.mark.parametrize("key", [key for key in KEYS if key != "schedule.kind"])
def test_a_key_counts_in_hash_and_differences_exactly_if_it_may_change_something(key: str) -> None:
    before, after = _values(key)
    may_change = KEYS[key].facts.changes is not Changes.NOTHING
    assert (config_hash(before) != config_hash(after)) is may_change
    # Each argument is a key of its own, and so is each batch size.
    named = f"{key}.width" if key.endswith(".args") else f"{key}.1" if key == "hardware.devices" else key
    assert [difference.key for difference in differences(after, before)] == ([named] if may_change else [])


@pytest.mark.slow
def test_every_key_has_a_line_of_documentation_that_help_prints() -> None:
    page = subprocess.run([sys.executable, "-m", "adabatch", "--help"], capture_output=True, text=True, check=True)
    for name, key in KEYS.items():
        assert key.facts.doc
        assert name in page.stdout
        assert " ".join(key.facts.doc.split()) in " ".join(page.stdout.split())


def test_keys_of_time_and_of_nothing_are_those_that_cannot_change_a_result() -> None:
    by_change = {change: {name for name, key in KEYS.items() if key.facts.changes is change} for change in Changes}
    assert by_change[Changes.TIME] == {
        "hardware.num_threads",
        "hardware.compile",
        "hardware.cuda_graphs",
        "hardware.profile",
    }
    groups = {name for name in KEYS if name.startswith(("tracker.", "checkpoint."))}
    assert by_change[Changes.NOTHING] == groups | {
        "metrics",
        "run_dir",
        "dataset.root",
        "dataset.download",
        "dataset.num_workers",
    }


def test_arms_are_judged_by_their_trajectory_in_schedule_and_learning_rate_alone() -> None:
    free = {name for name, key in KEYS.items() if key.facts.judged_by is JudgedBy.TRAJECTORY}
    assert free == {name for name in KEYS if name.startswith("schedule.")} | {"optimizer.learning_rate"}
    assert not free & set(judged_by_equality(KEYS))
    # The schema knows no single argument.
    names = [f"{group}.args.width" for group in ("network", "optimizer", "schedule", "tracker")]
    assert judged_by_equality(names) == names[:2]


@pytest.mark.parametrize("recorded", ["3-0123456789ab", "x-0123456789ab", "0-0123456789ab"])
def test_a_hash_by_an_unknown_rule_is_neither_right_nor_wrong(recorded: str) -> None:
    assert matches_hash(compose(["dataset=digits", "network=tiny_cnn"]), recorded) is None


def test_a_hash_is_checked_by_its_own_rule() -> None:
    config = compose(["dataset=digits", "network=tiny_cnn"])
    profiled = dataclasses.replace(config, hardware=dataclasses.replace(config.hardware, profile=True))
    first, second = config_hash(config, rule=1), config_hash(config)
    assert "-" not in first
    assert second.startswith("2-")
    assert [matches_hash(profiled, recorded) for recorded in (first, second)] == [True, False]
    assert [matches_hash(config, recorded) for recorded in (first, second)] == [True, True]


def test_a_key_that_a_rule_does_not_know_counts_where_it_is_not_at_its_default(monkeypatch) -> None:
    """As if ``batch_norm`` had come with a third version of the rule."""
    facts = dataclasses.replace(KEYS["batch_norm"].facts, hash_rule=3)
    monkeypatch.setitem(keys.KEYS, "batch_norm", dataclasses.replace(KEYS["batch_norm"], facts=facts))
    assert hashing.KEYS is keys.KEYS
    config = compose(["dataset=digits", "network=tiny_cnn"])
    older = {key: value for key, value in to_dict(config).items() if key != "batch_norm"}
    assert config_hash(config) == config_hash(older)
    ghost = dataclasses.replace(config, batch_norm="ghost")
    assert config_hash(ghost) != config_hash(config)


def test_a_number_beyond_all_floats_is_out_of_range() -> None:
    config = compose(["dataset=digits", "network=tiny_cnn"])
    with pytest.raises(ValueError, match=r"num_epochs is 1000*; it must be at least 1 and at most 100,000\."):
        dataclasses.replace(config, num_epochs=10**400)


def test_defaults_of_the_schema_are_in_range() -> None:
    assert isinstance(compose(["dataset=digits", "network=tiny_cnn"]), TrainConfig)


@dataclasses.dataclass
class WaveConfig(ScheduleConfig):
    """A kind of schedule with a key that a ramp has, too, and means something else by."""

    power: float = schedule_key(0.5, doc="height of the wave", allowed=between(0, 1))
    crests: int = schedule_key(3, doc="how many crests there are")


def test_an_equally_named_key_is_documented_by_each_kind_of_schedule():
    found = all_keys({**SCHEDULE_KINDS, "wave": WaveConfig})
    assert list(found["schedule.power"].texts()) == [
        "ramp: degree of shape=polynomial [a positive number]",
        "wave: height of the wave [between 0 and 1]",
    ]
    # one of its own, and one of all kinds
    assert list(found["schedule.crests"].texts()) == ["how many crests there are"]
    assert list(found["schedule.batch_size"].texts()) == list(KEYS["schedule.batch_size"].texts())
    for schema, text in ((WaveConfig, "[between 0 and 1]"), (SCHEDULE_KINDS["ramp"], "[a positive number]")):
        key = key_of_schema(schema, "schedule.power")
        assert key is not None
        assert next(key.texts()).endswith(text)


def test_help_says_what_each_kind_of_schedule_is():
    assert list(KEYS["schedule.kind"].texts()) == [
        "the kind of schedule; set by the option, not by hand",
        "stepwise: changes at boundaries between epochs [one of stepwise]",
        "ramp: changes with the samples seen [one of ramp]",
        "custom: your own schedule [one of custom]",
    ]
