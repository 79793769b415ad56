"""Calls that were mistyped, and the calls that were meant."""

from __future__ import annotations

import shlex

import pytest

from adabatch.call_words import CallRules, check_words
from adabatch.command import _rules
from adabatch.errors import ConfigError

RULES: CallRules = _rules("adabatch train", None)


@pytest.mark.parametrize(
    "words",
    [
        "network=vgg11 --config-dir my",
        "-m seed=1,2",
        "--cfg job network=vgg11",
        "--config-dir=my",
        "--multi seed=1,2",
        "~tracker network=vgg11",
        "tracker.notes= seed=1",
        "network.args.width=3 metrics.f1=mine:F1",
        "+a=1 hydra.run.dir=x ++network.args.depth=2 unheard=3",
        "'tracker.notes= a note'",
        "optimizer.learning_rate=-1",
        "--quick dataset=digits",
    ],
)
def test_right_calls_pass(words: str) -> None:
    check_words(shlex.split(words), RULES)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("dataset cifar10", "dataset=cifar10"),
        ("--dataset cifar10", "dataset=cifar10"),
        ("--dataset=cifar10", "dataset=cifar10"),
        ("-dataset=cifar10", "dataset=cifar10"),
        ("dataset = cifar10", "dataset=cifar10"),
        ("dataset= cifar10", "dataset=cifar10"),
        ("dataset =cifar10", "dataset=cifar10"),
        ("dataset:cifar10", "dataset=cifar10"),
        ("dataset==cifar10", "dataset=cifar10"),
        ("cifar10", "dataset=cifar10"),
        ("'dataset = cifar10'", "dataset=cifar10"),
        ("--schedule.batch_size 64 seed=3", "schedule.batch_size=64 seed=3"),
        ("seed=3 --num-epochs=2 num_epochs 4", None),
        ("-m optimizer adamw --config-dir my 'schedule.milestones=[1, 2]'",
         "-m optimizer=adamw --config-dir my 'schedule.milestones=[1, 2]'"),
        ("network vgg11 dataset digits num_epochs 3", "network=vgg11 dataset=digits num_epochs=3"),
        ("network.args.width 3", "network.args.width=3"),
    ],
)  # fmt: skip
def test_a_mistyped_call_is_told_how_it_was_meant(words: str, meant: str | None) -> None:
    with pytest.raises(ConfigError) as refused:
        check_words(shlex.split(words), RULES)
    ending = f"; the call must be: adabatch train {meant}" if meant else ""
    assert str(refused.value).endswith(ending)
    if meant:
        check_words(shlex.split(meant), RULES)
    else:
        assert str(refused.value).startswith("unknown option --num-epochs=2; expected key=value or one of --quick, ")


@pytest.mark.parametrize("words", ["nonsense", "network", "=3", "seed=3 network"])
def test_what_nobody_knows_is_named(words: str) -> None:
    with pytest.raises(ConfigError, match="does not have the form key=value, such as .*: adabatch train --help"):
        check_words(shlex.split(words), RULES)
