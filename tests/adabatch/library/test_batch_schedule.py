"""A schedule in a loop of one's own, by hand-computed numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import torch

from adabatch import BatchSchedule, ConfigError
from adabatch.config.compose import compose

_FACTS: dict[str, Any] = {"num_train_samples": 100, "num_epochs": 6, "learning_rate": 0.1}


def adabatch_schedule(**arguments: Any) -> BatchSchedule:
    return BatchSchedule("adabatch", **{"batch_size": 8, "every_epochs": 2, **_FACTS, **arguments})


def optimizer(*rates: float, **arguments: Any) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, **arguments)


def rates_of(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def test_batch_and_rate_follow_the_samples_seen() -> None:
    schedule = adabatch_schedule()
    decisions = [schedule.at(samples) for samples in (0, 199, 200, 400)]
    assert [decision.batch_size for decision in decisions] == [8, 8, 16, 32]
    assert [decision.learning_rate for decision in decisions] == pytest.approx([0.1, 0.1, 0.075, 0.05625])


def test_every_option_and_every_kind_makes_the_schedule_of_a_config() -> None:
    for name in ("fixed", "adabatch", "milestones", "stages", "cosine_ramp", "seesaw"):
        config = compose([f"schedule={name}", "dataset=digits", "network=tiny_cnn"]).schedule
        assert BatchSchedule(name, **_FACTS).config == config
    assert BatchSchedule("ramp", batch_size=10, final_batch_size=30, **_FACTS).at(300).batch_size == 20


def test_stages_are_named_by_the_epochs_before_them() -> None:
    schedule = BatchSchedule.from_stages({0: 16, 2: 64, 5: 32}, **_FACTS)
    decisions = [schedule.at(samples) for samples in (0, 199, 200, 499, 500)]
    assert [decision.batch_size for decision in decisions] == [16, 16, 64, 64, 32]
    assert {decision.learning_rate for decision in decisions} == {0.1}
    decayed = BatchSchedule.from_stages({0: 16, 2: 64}, learning_rate_decay=0.5, **_FACTS)
    assert decayed.at(200).learning_rate == pytest.approx(0.05)


@pytest.mark.parametrize("words", [{}, {"learning_rate_decay": 0.6}, {"learning_rate_decays": [0.5, 0.9]}])
def test_stages_in_a_loop_are_those_of_a_config(words: dict[str, Any]) -> None:
    overrides = ["schedule=stages", "schedule.batch_sizes=[8,24,12]", "schedule.milestones=[1,4]"]
    overrides += [f"schedule.{key}={value}".replace(" ", "") for key, value in words.items()]
    config = compose([*overrides, "dataset=digits", "network=tiny_cnn"]).schedule
    assert BatchSchedule.from_stages({0: 8, 1: 24, 4: 12}, **words, **_FACTS).config == config
    # the learning rate stays unless told otherwise: the batch alone lowers the rate per sample, by 24 / 8
    schedule = BatchSchedule.from_config(config, **_FACTS)
    factors = words.get("learning_rate_decays", [words.get("learning_rate_decay", 1.0)])
    assert schedule.at(100).learning_rate == pytest.approx(0.1 * factors[0])
    assert schedule.twin().at(100).learning_rate == pytest.approx(0.1 * factors[0] * 8 / 24)


def test_the_twin_has_the_same_rate_per_sample() -> None:
    schedule = adabatch_schedule()
    # 0.75 / 2 at each of two boundaries
    assert schedule.twin().at(400).batch_size == 8
    assert schedule.twin().at(400).learning_rate == pytest.approx(0.1 * 0.375**2)


def test_every_group_keeps_its_ratio_to_the_base_rate() -> None:
    schedule, sgd = adabatch_schedule(), optimizer(0.01, 0.1)
    schedule.advance(100)
    schedule.advance(100)
    assert schedule.apply(sgd).batch_size == 16
    assert rates_of(sgd) == pytest.approx([0.0075, 0.075])
    schedule.advance(200)
    schedule.apply(sgd)
    schedule.apply(sgd)
    assert rates_of(sgd) == pytest.approx([0.005625, 0.05625])


def test_the_base_rate_of_a_group_comes_back_with_the_optimizers_state() -> None:
    schedule, sgd = adabatch_schedule(), optimizer(0.01, 0.1)
    schedule.advance(400)
    schedule.apply(sgd)
    resumed = optimizer(0.01, 0.1)
    resumed.load_state_dict(sgd.state_dict())
    again = adabatch_schedule()
    again.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    again.apply(resumed)
    assert rates_of(resumed) == rates_of(sgd)


def test_a_rate_that_is_a_tensor_is_changed_in_place() -> None:
    rate = torch.tensor(0.1, dtype=torch.float64)
    adam = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    schedule = adabatch_schedule()
    schedule.advance(200)
    schedule.apply(adam)
    assert adam.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.075)


def test_an_optimizer_made_with_another_rate_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"learning_rate is 0.1; it must be .* made with: 0.5, 0.2\."):
        adabatch_schedule().apply(optimizer(0.5, 0.2))


def test_an_update_over_the_end_of_an_epoch_starts_the_next_one() -> None:
    schedule = adabatch_schedule()
    for size in (60, 60, 130):
        schedule.advance(size)
    progress = schedule.progress
    assert (progress.epoch, progress.samples_in_epoch, progress.samples, progress.updates) == (3, 50, 250, 3)


def test_a_state_of_another_schedule_is_refused_by_what_differs() -> None:
    state = adabatch_schedule().state_dict()
    with pytest.raises(ConfigError, match="schedule.batch_size is 16; it must be 8, as in the saved state"):
        adabatch_schedule(batch_size=16).load_state_dict(state)
    with pytest.raises(ConfigError, match="num_epochs is 9; it must be 6"):
        adabatch_schedule(num_epochs=9).load_state_dict(state)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("adabach", {}, "schedule is adabach; it must be one of .* Did you mean adabatch?"),
        ("adabatch", {"every_epoch": 3}, "unknown key schedule.every_epoch; .* Did you mean every_epochs?"),
        ("adabatch", {"batch_size": 0}, "schedule.batch_size is 0; it must be at least 1 sample"),
        ("adabatch", {"batch_size": "many"}, "schedule.batch_size is many; it must be a whole number"),
        ("stepwise", {"every_epochs": 2}, "schedule.batch_size has no value"),
        ("adabatch", {"num_epochs": 0}, "num_epochs is 0; it must be a whole number of at least 1"),
        ("adabatch", {"num_train_samples": 2.5}, "num_train_samples is 2.5; it must be a whole number"),
        ("adabatch", {"learning_rate": float("nan")}, "learning_rate is nan; it must be a positive number"),
    ],
)
def test_a_wrong_argument_is_named(name: str, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        BatchSchedule(name, **{**_FACTS, **arguments})


def test_stages_without_a_start_are_refused() -> None:
    with pytest.raises(ConfigError, match="stages is {10: 64}; it must be a mapping from epochs below num_epochs"):
        BatchSchedule.from_stages({10: 64}, **_FACTS)


@pytest.mark.slow
def test_schedule_and_sampler_import_no_torch() -> None:
    code = """
import sys, adabatch
assert set(adabatch.__all__) <= set(dir(adabatch))
assert not {"torch", "hydra"} & set(sys.modules), "import adabatch"
schedule = adabatch.BatchSchedule("fixed", num_train_samples=10, num_epochs=1, learning_rate=1.0)
adabatch.GrowingBatchSampler(10, schedule)
print("torch" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
