"""What lint finds, code by code."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from adabatch.errors import ConfigError
from launch.config import load_sweep
from launch.expand import Expansion, expand
from launch.lint import CODES, ERROR, check_codes, lint
from tests.launch.support import write_sweep

BASE = """
name: base
overrides: [dataset=cifar10, network=resnet20, num_epochs=100, schedule.every_epochs=20]
seeds: [0, 1, 2]
baseline: small
arms:
  small: [schedule=fixed, schedule.batch_size=128]
  adaptive: [schedule=adabatch, schedule.batch_size=128]
  large: [schedule=fixed, schedule.batch_size=2048]
"""


@pytest.fixture
def findings(launch):
    write_sweep(launch.config_dir, "base", BASE)

    def find(*overrides: str, **words: str):
        named = {key.replace("__", "."): value for key, value in words.items()}
        sweep = load_sweep("base", named, launch.config_dir)
        return lint(expand(sweep, list(overrides), Path("runs"), launch.config_dir))

    return find


def codes(found, arm=None):
    return {finding.code for finding in found if arm is None or finding.arm == arm}


def adaptive(*words: str) -> str:
    return f"[schedule=adabatch, schedule.batch_size=128, {', '.join(words)}]"


def test_sound_sweep_has_a_note_on_the_unscaled_large_batch_only(findings):
    (found,) = findings()
    assert (found.code, found.arm, found.level) == ("start-rate-differs", "large", "note")
    assert "0.0625 times" in found.sentence  # 128 / 2048
    assert found.cells == ("cifar10-resnet20",)


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        (adaptive("schedule.learning_rate_decay=0.5"), {"rate-differs"}),
        (adaptive("optimizer.learning_rate=0.02"), {"rate-differs"}),
        (adaptive("schedule.every_epochs=25"), {"rate-differs", "boundaries-differ"}),
        (
            adaptive("schedule.every_epochs=null", "'schedule.milestones=[20,40,60]'"),
            {"rate-differs", "boundaries-differ"},
        ),
        (adaptive("num_epochs=90"), {"epochs-differ"}),
        (adaptive("max_micro_batch_size=512"), {"micro-batch-differs"}),
        (adaptive("hardware.precision=bf16"), {"precision-differs"}),
        (adaptive("dataset.partial_batch=keep"), {"partial-batch-differs"}),
        (adaptive("schedule.warmup_epochs=5"), {"warmup-differs"}),
        (adaptive("optimizer.momentum=0.5"), {"config-differs"}),
        (adaptive("batch_norm=ghost"), {"config-differs"}),
        (adaptive("network=alexnet"), {"no-baseline"}),
        (adaptive("schedule.learning_rate_decay=2"), {"rate-differs", "boundaries-differ", "learning-rate-grows"}),
        (adaptive("schedule.learning_rate_decay=0.075"), {"rate-differs", "rate-vanishes"}),
        ("[schedule=fixed, schedule.batch_size=60000]", {"batch-exceeds-data", "start-rate-differs"}),
        (adaptive("max_micro_batch_size=128"), {"micro-batch-differs", "growth-not-physical"}),
        (adaptive("schedule.max_batch_size=512"), {"growth-capped"}),
        (adaptive("schedule.every_epochs=100"), {"growth-never-happens", "rate-differs", "boundaries-differ"}),
        ("[schedule=seesaw, optimizer=adamw, optimizer.learning_rate=0.01]", {"rate-differs", "config-differs"}),
        ("twin(adaptive)", set()),
    ],
)
def test_codes(findings, arm, expected):
    words = {"arms__other": arm}
    if arm.startswith("twin"):
        words["arms__small"] = "[schedule=fixed, schedule.batch_size=128, optimizer.nesterov=true]"
        found = codes(findings(**words), "other") - {"config-differs"}
    else:
        found = codes(findings(**words), "other")
    assert found == expected


@pytest.mark.slow
def test_a_ramp_through_many_shapes_is_noted_where_they_are_tuned(findings):
    words = "[schedule=linear_ramp, hardware.compile=true"
    found = findings(arms__other=words + "]", overrides="[dataset=fashion_mnist, num_epochs=4]")
    assert "many-shapes" in codes(found, "other")
    found = findings(
        arms__other=words + ", schedule.batch_size_multiple=128]", overrides="[dataset=fashion_mnist, num_epochs=4]"
    )
    assert "many-shapes" not in codes(found, "other")


def test_decay_typo_is_found_in_the_baseline_too(findings):
    """0.0375 ** 4 = 1.98e-6 is not yet below 1e-6, but no boundary should take 96 % away."""
    found = findings(arms__small="[schedule=fixed, schedule.batch_size=128, schedule.learning_rate_decay=0.0375]")
    assert "rate-vanishes" in codes(found, "small")
    sentence = next(finding.sentence for finding in found if finding.code == "rate-vanishes")
    assert "2e-06 of its first value, by a factor of 0.0375 at one boundary" in sentence


def test_rate_difference_names_the_first_epoch_and_both_rates(findings):
    found = findings(arms__other=adaptive("schedule.learning_rate_decay=0.5"))
    sentence = next(finding.sentence for finding in found if finding.code == "rate-differs")
    # epoch 21: 0.01 * 0.5 / 256 and 0.01 * 0.375 / 128
    assert sentence == ("learning_rate_per_sample is 1.953e-05 in epoch 21, the baseline's is 2.93e-05 in epoch 21.")


def test_equal_warm_up_from_different_batches_is_sound(findings):
    """As in the paper's section 4.2: after the warm-up 0.1 * 1024 / 128 / 1024 = 0.1 / 128 a sample."""
    words = ("schedule.warmup_epochs=5", "optimizer.learning_rate=0.1")
    found = findings(*words, arms__large="[schedule=adabatch, schedule.batch_size=1024]")
    assert not [finding for finding in found if finding.level == ERROR]
    assert codes(found, "large") == set()


def test_ranks_must_divide_batches(findings):
    found = findings("hardware.num_devices=3")
    assert "ranks-do-not-divide" in codes(found, "small")
    assert "ranks-do-not-divide" not in codes(findings("hardware.num_devices=4"))


@pytest.mark.slow
def test_notes_on_what_a_sweep_lacks(findings):
    assert "one-seed" in codes(findings(seeds="[0]"))
    assert "no-large-fixed" in codes(findings(arms__large="[schedule=fixed, schedule.batch_size=1024]"))
    assert "no-equal-start" in codes(findings(arms__small="[schedule=fixed, schedule.batch_size=64]"))


def test_equal_findings_of_several_cells_are_listed_once(findings):
    found = findings(grid__network="[resnet20, vgg11]", overrides="[dataset=cifar10, schedule.every_epochs=20]")
    (start,) = [finding for finding in found if finding.code == "start-rate-differs"]
    assert start.cells == ("cifar10-resnet20", "cifar10-vgg11")


def test_different_seeds_of_arms_are_found(launch):
    write_sweep(launch.config_dir, "base", BASE)
    whole = expand(load_sweep("base", {}, launch.config_dir), [], Path("runs"), launch.config_dir)
    runs = [run for run in whole.runs if (run.arm, run.seed) != ("adaptive", 2)]
    found = lint(Expansion(whole.sweep, whole.folder, runs))
    assert "seeds-differ" in codes(found, "adaptive")


def test_ramps_and_their_twins_agree(findings):
    ramp = "[schedule=linear_ramp, schedule.batch_size=128]"
    overrides = "[dataset=cifar10, network=resnet20, num_epochs=10]"
    found = findings(overrides=overrides, arms__adaptive=ramp, arms__small="twin(adaptive)")
    assert codes(found, "adaptive") == set()


def test_allowed_codes_must_exist():
    assert check_codes(["rate-differs", "epochs-differ", "rate-differs"]) == ["epochs-differ", "rate-differs"]
    with pytest.raises(ConfigError, match="--allow is rate; it must be one of"):
        check_codes(["rate"])


def test_every_finding_has_a_sentence_and_a_remedy(findings):
    for finding in findings(arms__other=adaptive("num_epochs=10", "schedule.learning_rate_decay=0.01"), seeds="[0]"):
        assert finding.sentence.endswith(".")
        assert finding.remedy.endswith(".")
        assert dataclasses.asdict(finding)["code"] in CODES


@pytest.fixture
def own_schedules(tmp_path, monkeypatch):
    """A module of schedules outside of adabatch, in the working folder."""
    (tmp_path / "thrifty.py").write_text(
        "from adabatch import Decision, Schedule\n"
        "class Steady(Schedule):\n"
        "    constant_within_epoch = True\n"
        "    def __init__(self, batch_size, learning_rate, factor=1.0):\n"
        "        self.first = batch_size, learning_rate\n"
        "        self.factor = factor\n"
        "    def decide(self, progress, signals=None):\n"
        "        size, rate = self.first\n"
        "        return Decision(size, rate * self.factor ** (progress.epoch // 7))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("thrifty", None)


SMALL = "schedule=fixed, schedule.batch_size=128, schedule.every_epochs=20"


@pytest.fixture
def remedies(launch):
    """Return lint's advice on an arm ``adaptive``, by code."""

    def find(adaptive: str, small: str = SMALL) -> dict[str, str]:
        overrides = "[dataset=cifar10, network=resnet20, num_epochs=100]"
        arms = f"{{small: [{small}], adaptive: [{adaptive}]}}"
        text = f"name: pair\noverrides: {overrides}\nseeds: [0, 1]\nbaseline: small\narms: {arms}\n"
        write_sweep(launch.config_dir, "pair", text)
        sweep = load_sweep("pair", {}, launch.config_dir)
        found = lint(expand(sweep, [], Path("runs"), launch.config_dir))
        return {finding.code: finding.remedy for finding in found if finding.arm == "adaptive"}

    return find


def own(factor: float = 1.0) -> str:
    return f'"schedule=thrifty:Steady", schedule.batch_size=128, schedule.args.factor={factor}'


def test_advice_on_own_schedules_names_no_key_that_they_lack(remedies, own_schedules):
    found = remedies(own(0.5))
    assert found["rate-differs"] == (
        "Change what thrifty:Steady decides, or give the baseline its learning rates: your own schedule has no twin."
    )
    assert found["boundaries-differ"] == (
        "Change what thrifty:Steady decides, or give the other arm its boundaries with schedule.milestones."
    )
    assert remedies(own(0.001))["rate-vanishes"] == "Change what thrifty:Steady decides: look for a typo in a factor."
    assert remedies(own(1.5))["learning-rate-grows"] == "Change what thrifty:Steady decides."
    warmed = remedies(own(), f"{SMALL}, schedule.warmup_epochs=3")
    assert warmed["warmup-differs"].startswith("Set schedule.warmup_epochs=0 for the other arm")


def test_advice_on_an_arm_whose_baseline_is_an_own_schedule(remedies, own_schedules):
    found = remedies("schedule=adabatch, schedule.every_epochs=20", own())
    assert found["rate-differs"] == "Compare with the arm's twin, twin(ARM), or change what thrifty:Steady decides."


@pytest.mark.parametrize(
    ("words", "code", "remedy"),
    [
        (
            "schedule=stages, 'schedule.batch_sizes=[128,256]', 'schedule.milestones=[20]', "
            "schedule.learning_rate_decay=1, 'schedule.learning_rate_decays=[3]'",
            "learning-rate-grows",
            "Set schedule.learning_rate_decays to at most 1.",
        ),
        (
            "schedule=linear_ramp, schedule.batch_size=128, schedule.final_batch_size=512",
            "boundaries-differ",
            "Compare with the arm's twin, twin(ARM): a ramp changes with the samples seen, not at boundaries.",
        ),
        (
            "schedule=milestones, schedule.batch_size=128, 'schedule.milestones=[300]'",
            "growth-never-happens",
            "Lower schedule.milestones, or train for longer.",
        ),
    ],
)
def test_advice_names_the_keys_of_the_kind(remedies, words, code, remedy):
    assert remedies(words)[code] == remedy
