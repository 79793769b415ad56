"""A value means what was written, on every route, or is refused by a sentence that names the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from adabatch.config.compose import compose
from adabatch.config.keys import flatten
from adabatch.config.saved import load_config, save_config, to_dict
from adabatch.errors import ConfigError

_BASE = ("network=tiny_cnn", "dataset=digits")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("tracker.project=1e3", "1e3"),
        ("tracker.notes=00042", "00042"),
        ("tracker.run_name=true", "true"),
        ("tracker.notes=3_000", "3_000"),
        ("tracker.notes='a  b'", "a  b"),
        ("tracker.notes=null", None),
        ("num_epochs=2e1", 20),
        ("num_epochs='7'", 7),
        ("seed=4.0", 4),
        ("optimizer.momentum=0", 0.0),
        ("optimizer.weight_decay=5E-4", 0.0005),
        ("optimizer.nesterov=Yes", True),
        ("hardware.channels_last=off", False),
        ("tracker.run_name=${dataset.name}", "digits"),
    ],
)
def test_a_value_is_what_was_written(word, value, tmp_path: Path):
    config = compose([*_BASE, word])
    key = word.partition("=")[0]
    assert flatten(to_dict(config))[key] == value
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("hardware.profile=3", "hardware.profile is 3; it must be true or false."),
        ("hardware.channels_last=1.5", "hardware.channels_last is 1.5; it must be true or false."),
        ("seed=true", "seed is true; it must be a whole number"),
        ("num_epochs=2.5", "num_epochs is 2.5; it must be a whole number"),
        ("num_epochs=[3]", r"num_epochs is \[3\]; it must be a whole number"),
        ("optimizer.momentum=false", "optimizer.momentum is false; it must be a number."),
        (f"optimizer.weight_decay={'8' * 350}", r"optimizer.weight_decay is 8+\.\.\. \(350 characters\); it must be"),
        (f"seed={'8' * 4999}", "digits"),
        ("ghost_batch_size=9223372036854775808", "ghost_batch_size is 9223372036854775808; it must be a whole number"),
        ("optimizer.epsilon=inf", "optimizer.epsilon is inf; it must be a positive number."),
        ("checkpoint.every_seconds=inf", "checkpoint.every_seconds is inf; it must be null or"),
        ("dataset.mean=0.5", "dataset.mean is 0.5; it must be a list"),
        ("tracker.tags=[a,7]", r"tracker.tags is \['a', 7\]; it must be a list of texts"),
        ("tracker.notes=[a]", r"tracker.notes is \['a'\]; it must be null or a text"),
        ("optimizer=[sgd,adamw]", r"optimizer is \[sgd,adamw\]; it must be the name of one of its options"),
        ("schedule=7", "schedule is 7; it must be the name of one of its options"),
        ("tracker.notes='\x07'", r"tracker.notes='\\x07' holds control characters"),
        ("run_dir=a\udcffb", r"run_dir=a\\udcffb holds .* not UTF-8"),
        pytest.param(f"run_dir={'d' * 20_000}", "is too long; an override has at most 10,000 characters", id="long"),
        ("num_epochs=1:30", "num_epochs is 1:30; it must be a whole number"),
        ("tracker={a:1}", r"tracker is \{a:1\}; it must be the name of one of its options"),
        ("seed=3,4", "seed=3,4 .* -m"),
    ],
)
def test_what_is_not_meant_is_refused_by_key(word, sentence):
    with pytest.raises(ConfigError, match=sentence) as refused:
        compose([*_BASE, word])
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500
