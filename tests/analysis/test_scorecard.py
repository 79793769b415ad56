"""Verdicts on claims, by runs whose numbers are known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import analysis
from adabatch.errors import ConfigError
from analysis.cli import main
from analysis.scorecard import read_claims, scorecard
from tests.analysis.runs import write_run

REFERENCE = Path(__file__).parents[2] / "analysis" / "references" / "adabatch_paper.yaml"
CLAIM = {
    "name": "c",
    "text": "It is faster",
    "source": "abstract",
    "quantity": "total",
    "says": "about",
    "value": 2.0,
    "against": "baseline",
    "where": {"dataset": ["digits"]},
    "arm": {},
    "margin": 1.0,
}


def judge(root: Path, **changes: Any) -> tuple[str, str]:
    file = root / "claims.yaml"
    file.write_text(yaml.safe_dump({"claims": [{**CLAIM, **changes}]}))
    [score] = scorecard(analysis.load(root), read_claims(file))
    return score.verdict, score.why


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """A growing arm that is 1.95, 2.0 and 2.05 times faster, so 1.88 to 2.13, and 0.1 points better or worse."""
    for seed, (ratio, gain) in enumerate([(1.95, 0.001), (2.0, 0.0), (2.05, -0.001)]):
        write_run(tmp_path, "fixed", seed, accuracies=(0.5, 0.9), epoch_seconds=10, rates=(0.01, 0.005))
        write_run(
            tmp_path, "grown", seed, accuracies=(0.5, 0.9 + gain), epoch_seconds=10 / ratio, batches=(10, 20),
            rates=(0.01, 0.01),
        )  # fmt: skip
        write_run(tmp_path, "large", seed, accuracies=(0.1, 0.2), batches=40, rates=(0.01, 0.005))
    return tmp_path


@pytest.mark.parametrize(
    ("says", "value", "verdict"),
    [
        ("about", 2.0, "reproduced"),
        ("about", 3.0, "contradicted"),
        ("about", 1.84, "undecided"),
        ("up_to", 1.85, "reproduced"),
        ("up_to", 6.25, "contradicted"),
        ("up_to", 2.01, "undecided"),
        ("at_most", 2.15, "reproduced"),
        ("at_most", 1.6, "contradicted"),
        ("at_most", 2.0, "undecided"),
    ],
)
def test_speedups(twice: Path, says: str, value: float, verdict: str) -> None:
    assert judge(twice, says=says, value=value)[0] == verdict


def write_timed(root: Path, fixed_seconds: list[float], grown_seconds: list[float]) -> None:
    for seed, (fixed, grown) in enumerate(zip(fixed_seconds, grown_seconds, strict=True)):
        write_run(root, "fixed", seed, epoch_seconds=fixed, rates=(0.01, 0.005))
        write_run(root, "grown", seed, epoch_seconds=grown, batches=(10, 20), rates=(0.01, 0.01))


@pytest.mark.parametrize(
    ("says", "value", "verdict"),
    [
        ("up_to", 1.2, "undecided"),
        ("up_to", 1.5, "undecided"),
        ("up_to", 6.25, "contradicted"),
        ("at_most", 1.2, "undecided"),
        ("at_most", 1.5, "undecided"),
        ("at_most", 2.3, "reproduced"),
        ("about", 1.25, "undecided"),
        ("about", 1.5, "undecided"),
        ("about", 3.0, "contradicted"),
    ],
)
def test_a_speedup_within_noise_decides_what_noise_cannot_turn_round(
    tmp_path: Path, says: str, value: float, verdict: str
) -> None:
    # 1.22 and 1.28 times faster: 1.2496, times or by exp(12.7062 * ln(1.28 / 1.22) / 2) = 1.3566, so 0.92 to 1.70.
    # Equal accuracies of two seeds on 359 samples are equal within 1.02 points only, so the margin is two.
    write_timed(tmp_path, [10.0, 13.0], [10 / 1.22, 13 / 1.28])
    found, why = judge(tmp_path, says=says, value=value, margin=2.0)
    assert found == verdict
    assert bool(re.search("within an interval|an interval reaches beyond", why)) == (verdict == "undecided")


def test_a_speedup_beside_an_undecided_quality_reproduces_nothing(tmp_path: Path) -> None:
    # as above, but a margin of one point is less than 1.02
    write_timed(tmp_path, [10.0, 13.0], [10 / 1.22, 13 / 1.28])
    for says, value in (("up_to", 0.9), ("at_most", 2.3)):
        assert judge(tmp_path, says=says, value=value, margin=2.0)[0] == "reproduced"
        assert judge(tmp_path, says=says, value=value, margin=1.0)[0] == "undecided"
    assert judge(tmp_path, says="up_to", value=6.25, margin=1.0)[0] == "contradicted"


@pytest.mark.parametrize("outcome", ["worse", "failed"])
def test_a_speedup_at_a_worse_quality_is_none(tmp_path: Path, outcome: str) -> None:
    for seed, ratio in enumerate((1.95, 2.0, 2.05)):
        write_run(tmp_path, "fixed", seed, accuracies=(0.5, 0.9), epoch_seconds=10)
        accuracies = (0.5, 0.8) if outcome == "worse" else (0.5, 0.9)
        write_run(tmp_path, "grown", seed, accuracies=accuracies, epoch_seconds=10 / ratio, batches=(10, 20))
    if outcome == "failed":
        write_run(tmp_path, "grown", 3, batches=(10, 20), state="failed", cause="NonFiniteLoss: nan")
    found = judge(tmp_path, says="up_to", value=1.5)
    assert found == ("contradicted", "no arm reaches 1.5 at a quality that is no worse")
    verdict, why = judge(tmp_path, says="about", value=2.0)
    assert verdict == "undecided"
    assert why.endswith("but the quality of digits-tiny_cnn/grown is worse or undecided")
    assert judge(tmp_path, says="at_most", value=2.2)[0] == "undecided"
    # of an arm whose accuracy does not count, no speedup contradicts
    assert judge(tmp_path, says="at_most", value=1.6)[0] == "undecided"
    assert judge(tmp_path, quantity="quality", says="within", value=1.0)[0] == "contradicted"


def test_arms_of_another_design_say_nothing(twice: Path) -> None:
    assert judge(twice, arm={"first_batch_size": [10], "last_batch_size": [20, 40]})[0] == "reproduced"
    verdict, why = judge(twice, arm={"first_batch_size": [10], "last_batch_size": [40]})
    assert verdict == "not run"
    assert why == "no growing arm has the design of the claim (first_batch_size 10, last_batch_size 40)"
    assert judge(twice, arm={"no_such_column": [10]})[0] == "not run"


def test_an_arm_beyond_noise_reproduces_beside_a_faster_one_within_it(tmp_path: Path) -> None:
    write_timed(tmp_path, [10.0] * 3, [10 / 1.24, 10 / 1.25, 10 / 1.26])
    for seed, seconds in enumerate([6.0, 9.0, 7.0]):
        write_run(tmp_path, "wild", seed, epoch_seconds=seconds, batches=(10, 20), rates=(0.01, 0.01))
    verdict, why = judge(tmp_path, says="up_to", value=1.2)
    assert (verdict, why) == (
        "reproduced",
        "digits-tiny_cnn/grown reaches it with its whole interval, and its quality is no worse",
    )


@pytest.mark.parametrize(
    ("says", "value", "verdict"),
    [
        ("up_to", 1.5, "reproduced"),
        ("up_to", 6.25, "contradicted"),
        ("at_most", 1.5, "contradicted"),
        ("about", 2.0, "reproduced"),
        ("about", 3.0, "contradicted"),
    ],
)
def test_a_seed_whose_forward_passes_were_not_timed_is_in_no_ratio(
    tmp_path: Path, says: str, value: float, verdict: str
) -> None:
    write_timed(tmp_path, [10.0, 10.0], [5.0, 5.0])
    write_run(tmp_path, "fixed", 2, rates=(0.01, 0.005), spans={"data": 1.0})
    write_run(tmp_path, "grown", 2, batches=(10, 20), rates=(0.01, 0.01), spans={"data": 1.0})
    assert judge(tmp_path, quantity="forward", says=says, value=value)[0] == verdict


def test_accuracy_of_growing_arms_only(twice: Path) -> None:
    # 0.1, 0 and -0.1 points: 4.3027 * 0.1 / sqrt(3) = 0.25, with the test set's resolution 0.28
    assert judge(twice, quantity="quality", says="within", value=1.0, margin=1.0)[0] == "reproduced"
    assert judge(twice, quantity="quality", says="within", value=0.3, margin=0.3)[0] == "reproduced"
    assert judge(twice, quantity="quality", says="within", value=0.1, margin=0.1)[0] == "undecided"


def test_a_growing_arm_that_is_worse_contradicts(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "fixed", seed, accuracies=(0.5, 0.9 + seed / 1000))
        write_run(tmp_path, "grown", seed, accuracies=(0.5, 0.8), batches=(10, 20))
    verdict, why = judge(tmp_path, quantity="quality", says="within", value=1.0)
    assert verdict == "contradicted"
    assert "digits-tiny_cnn/grown" in why


def test_the_arm_fixed_at_the_start_is_another_baseline(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path, "fixed", seed, batches=10, epoch_seconds=16)
        write_run(tmp_path, "start", seed, batches=20, epoch_seconds=8)
        write_run(tmp_path, "grown", seed, batches=(20, 40), epoch_seconds=4)
    assert judge(tmp_path, against="baseline", value=4.0)[0] == "reproduced"
    assert judge(tmp_path, against="start", value=2.0)[0] == "reproduced"


def test_what_was_not_run_is_not_run(twice: Path) -> None:
    verdict, why = judge(twice, where={"dataset": ["cifar100"], "world_size": [4]})
    assert (verdict, why) == ("not run", "there is no run with dataset cifar100, world_size 4")


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", epoch_seconds=10)
    write_run(tmp_path, "grown", epoch_seconds=5, batches=(10, 20))
    assert judge(tmp_path, value=2.0)[0] == "undecided"


def test_refused_pairs_are_the_reason(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed")
    write_run(tmp_path, "grown", batches=(10, 20), changes={"hardware.precision": "bf16"})
    assert judge(tmp_path) == ("not run", "the pairs that could tell differ in hardware.precision and are refused")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"quantity": "joy"}, "c's quantity is joy; it must be one of quality, total"),
        ({"says": "maybe"}, "c's says is maybe; it must be one of about, up_to, at_most"),
        ({"value": -1}, "c's value is -1; it must be a positive number"),
        ({"where": {"dataset": "digits"}}, "it must be a mapping"),
        ({"extra": 1}, "it must have the keys"),
        ({"arm": ["grown"]}, "c's arm is .*; it must be a mapping"),
        ({"margin": 0}, "c's margin is 0; it must be the points of quality that the claim allows to lose"),
        ({"margin": None}, "c's margin is null; it must be the points of quality"),
        (
            {"quantity": "quality", "says": "within", "value": 1.0, "margin": 2.0},
            "c's margin is 2; it must be its value, 1, where the quantity is quality",
        ),
        ({"quantity": "quality"}, "c's says is about; it must be one of within"),
    ],
)
def test_wrong_claims_are_refused(twice: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        judge(twice, **changes)


def test_the_papers_claims_can_be_read_and_judged(twice: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {score.verdict for score in scorecard(analysis.load(twice), read_claims(REFERENCE))} == {"not run"}
    assert main(["scorecard", str(twice), "--reference", str(REFERENCE), "--format", "markdown"]) == 0
    assert "Up to 6.25 times faster on four GPUs" in capsys.readouterr().out
