"""Forest plots and heat maps: numbers by hand, and every compared arm by name, whatever is known of it."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.comparison import Comparison
from analysis.figures.effect_frames import quality_effects, speed_effects, target_effects
from analysis.figures.marks import Bar, Cell, Interval, Picture, Rule
from analysis.figures.registry import build
from analysis.figures.source import groups, level_names, source_of
from analysis.tables import verdict_table
from analysis.verdicts import Quality
from tests.analysis.figures_of import GROUP, all_pictures, picture
from tests.analysis.runs import write_run
from tests.analysis.sweeps import grid_of_six, imported, kind_of, level, twelve_arms


def write_two(root: Path, seconds: tuple[float, ...] = (5.0, 5.0), **changes: Any) -> None:
    """Two seeds of a baseline that takes 10 s an epoch, and of a growing arm."""
    for seed, taken in enumerate(seconds):
        write_run(root, "fixed", seed, epoch_seconds=10.0, rates=(0.01, 0.005))
        write_run(root, "grown", seed, epoch_seconds=taken, batches=(10, 20), rates=(0.01, 0.01), **changes)


def intervals(found: Picture) -> dict[str, Interval]:
    """Return the intervals of a forest plot by the names of their rows."""
    return {found.y.categories[mark.row]: mark for mark in found.marks if isinstance(mark, Interval)}


def compared(root: Path, **options: Any) -> Comparison:
    return analysis.compare(analysis.load(root), **options)


def test_a_speedup_by_hand(tmp_path: Path) -> None:
    write_two(tmp_path, (5.0, 8.0))
    found = picture(tmp_path, "speedup", None, smallest_effect=0.1)
    # ln 2 and ln 1.25: their mean is ln sqrt(2.5); t(0.975, 1) = 12.7062 times half of their difference ln 1.6
    half = 12.7062 * math.log(1.6) / 2
    grown = intervals(found)["grown"]
    assert grown.value == pytest.approx(math.sqrt(2.5))
    assert grown.low == pytest.approx(math.sqrt(2.5) * math.exp(-half), rel=1e-4)
    assert grown.high == pytest.approx(math.sqrt(2.5) * math.exp(half), rel=1e-4)
    assert grown.text.startswith("1.58x undecided")
    assert not grown.filled
    rules = [(rule.value, rule.end, rule.label) for rule in found.marks if isinstance(rule, Rule)]
    assert rules == [(pytest.approx(1 / 1.1), pytest.approx(1.1), "within 10 %"), (1.0, None, "as fast")]


def test_the_ends_of_a_very_wide_interval_are_bounds(tmp_path: Path) -> None:
    write_two(tmp_path, (5.0, 50.0))
    # ln 2 and ln 0.2: their mean is ln sqrt(0.4), and half of the interval is 12.7062 times half of ln 10: 14.6
    grown = intervals(picture(tmp_path, "speedup", None))["grown"]
    assert grown.high == pytest.approx(math.sqrt(0.4) * math.exp(12.7062 * math.log(10) / 2), rel=1e-4)
    assert grown.text.startswith("0.63x undecided")
    assert "95 % interval <0.01x to >1,000x" in grown.hover


def test_a_decided_speedup_is_filled_unless_the_arm_is_worse(tmp_path: Path) -> None:
    write_two(tmp_path / "as_good")
    assert intervals(picture(tmp_path / "as_good", "speedup", None, margin=10))["grown"].filled
    assert intervals(picture(tmp_path / "as_good", "speedup", None, margin=10))["grown"].text == "2.00x faster"
    write_two(tmp_path / "worse", accuracies=(0.5, 0.7))
    worse = intervals(picture(tmp_path / "worse", "speedup", None, margin=10))["grown"]
    assert (worse.text, worse.filled) == ("2.00x faster, test accuracy worse", False)


def test_a_difference_in_quality_by_hand(tmp_path: Path) -> None:
    for seed, (base, own) in enumerate([(0.90, 0.91), (0.90, 0.93)]):
        write_run(tmp_path, "fixed", seed, accuracies=(0.5, base), rates=(0.01, 0.005))
        write_run(tmp_path, "grown", seed, accuracies=(0.5, own), batches=(10, 20), rates=(0.01, 0.01))
    found = picture(tmp_path, "quality_difference", None, margin=0.5)
    # differences of 1 and 3 points: mean 2, half width 12.7062 * sqrt(2) / sqrt(2)
    grown = intervals(found)["grown"]
    assert (grown.value, grown.low, grown.high) == tuple(
        pytest.approx(value, abs=1e-3) for value in (2, -10.706, 14.706)
    )
    assert (found.x.label, grown.text.split(":")[0]) == ("test accuracy, arm minus baseline, points", "+2.00 undecided")
    assert [rule.value for rule in found.marks if isinstance(rule, Rule)] == [-0.5, 0.0, 0.5]


def test_a_quality_of_which_less_is_better_has_its_margin_on_the_right(tmp_path: Path) -> None:
    write_two(tmp_path)
    comparison = compared(tmp_path)
    loss = dataclasses.replace(
        comparison.measure, quality=Quality("test loss", "nat", 0.2, higher_is_better=False), num_samples_key=None
    )
    other = dataclasses.replace(comparison, measure=loss)
    found = build("quality_difference", source_of(other))
    [named] = [rule for rule in found.marks if isinstance(rule, Rule) and rule.label]
    assert (named.value, named.label) == (0.2, "margin 0.2 nats")
    assert found.x.label == "test loss, arm minus baseline, nats"
    assert "to the left is better" in found.notes[0]
    assert "no share of correct samples" in build("error_by_time", source_of(other), GROUP).empty


@pytest.mark.parametrize(
    ("changes", "word", "quality_word"),
    [
        ({"changes": {"optimizer.nesterov": True}}, "refused", "refused"),
        ({"meta": {"num_threads": 7}}, "refused", "+0.00"),
        ({"state": "running"}, "no pair", "no pair"),
        ({"state": "failed", "cause": "NonFiniteLoss"}, "failed in 2 of 2 runs", "failed in 2 of 2 runs"),
    ],
)
def test_an_arm_without_a_number_is_named_with_its_word(
    tmp_path: Path, changes: dict[str, Any], word: str, quality_word: str
) -> None:
    write_two(tmp_path, **changes)
    speed = intervals(picture(tmp_path, "speedup", None))["grown"]
    assert (speed.text, math.isnan(speed.value), speed.filled) == (word, True, False)
    quality = intervals(picture(tmp_path, "quality_difference", None))["grown"]
    assert quality.text.startswith(quality_word)
    grid = compared(tmp_path)
    [said] = verdict_table(grid).frame.to_dict("records")
    assert said["speed"].startswith(word)
    assert quality_word == "+0.00" or said["test accuracy"].startswith(quality_word)
    if word == quality_word == "refused":
        assert said["speed"] == "refused: optimizer.nesterov"
    assert list(speed_effects(grid).arm) == list(quality_effects(grid).arm) == ["grown"]


def test_one_pair_is_a_point_without_an_interval(tmp_path: Path) -> None:
    write_two(tmp_path, (5.0,))
    found = picture(tmp_path, "speedup", None)
    grown = intervals(found)["grown"]
    assert (grown.value, math.isnan(grown.low), grown.filled) == (pytest.approx(2.0), True, False)
    assert "A point without an interval rests on one pair of seeds." in found.notes


def test_one_arm_alone_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0, baseline=None)
    for name in ("speedup", "speedup_to_target", "quality_difference"):
        assert "No arm has a baseline" in picture(tmp_path, name, None).empty
    assert "There is no grid" in picture(tmp_path, "speedup_grid", None).empty


def test_the_speedup_to_the_target_by_hand(tmp_path: Path) -> None:
    write_two(tmp_path, (5.0, 5.0))
    for seed in range(2):
        write_run(tmp_path, "slow", seed, accuracies=(0.5, 0.6), batches=20, rates=(0.02, 0.01))
    frame = target_effects(compared(tmp_path, target=0.9)).set_index("arm")
    assert (frame.value["grown"], frame.verdict["grown"]) == (pytest.approx(2.0), "faster")
    assert math.isnan(frame.value["slow"])
    assert frame.verdict["slow"] == "not reached"


def test_arms_stand_below_the_levels_of_their_grid(tmp_path: Path) -> None:
    found = picture(grid_of_six(tmp_path, range(2)), "speedup", None)
    headings = [name for place, name in enumerate(found.y.categories) if place in found.y.headings]
    assert headings[0] == "momentum = 0.8, weight decay = 0.0"
    assert (len(headings), headings[-1]) == (7, "over all 6 cells")
    rows = [name for place, name in enumerate(found.y.categories) if place not in found.y.headings]
    assert rows == ["growing", "large"] * 7


def test_a_speedup_to_the_target_counts_whatever_the_final_quality(tmp_path: Path) -> None:
    # both reach 60 % in their second epoch; the grown arm ends 30 points lower
    for seed in range(2):
        write_run(tmp_path, "fixed", seed, accuracies=(0.5, 0.7, 0.9), rates=(0.01, 0.005, 0.005))
        write_run(
            tmp_path, "grown", seed, accuracies=(0.5, 0.7, 0.6), epoch_seconds=5, batches=20, rates=(0.02, 0.01, 0.01)
        )
    found = intervals(picture(tmp_path, "speedup_to_target", None, target=0.6))["grown"]
    assert (found.text, found.filled) == ("2.00x faster", True)
    assert not intervals(picture(tmp_path, "speedup", None, target=0.6))["grown"].filled


def test_a_speedup_over_all_cells_is_hollow_beside_a_worse_quality(tmp_path: Path) -> None:
    for (place, decay), seed in itertools.product(enumerate((0.0, 0.1)), range(2)):
        swept = {"optimizer.weight_decay": decay}
        for arm, seconds, final in (("fixed", 20.0, 0.9), ("fast", 10.0, 0.9), ("bad", 10.0, 0.5)):
            taken = seconds * (1 + 0.001 * place * (arm == "fast"))
            curve = (0.4, final)
            write_run(tmp_path, level(arm, swept), seed, epoch_seconds=taken, accuracies=curve, **kind_of(swept))
    found = picture(tmp_path, "speedup", None, margin=2)
    last = [mark for mark in found.marks if isinstance(mark, Interval)][-2:]
    assert [found.y.categories[mark.row] for mark in last] == ["bad", "fast"]
    assert [mark.text for mark in last] == ["2.00x, at up to 40 points less in 2 of 2 cells", "2.00x"]
    assert [mark.filled for mark in last] == [False, True]


@pytest.mark.parametrize("write", [grid_of_six, twelve_arms])
def test_forest_plots_and_heat_maps_are_in_the_order_of_the_verdicts(
    tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    comparison = compared(write(tmp_path))
    source = source_of(comparison)
    table = verdict_table(comparison)
    swept = [column for column in ("momentum", "weight_decay") if column in table.columns]
    # a value that is that of the row above is not repeated
    rows = table.frame.mask(table.frame[[*swept, "arm"]] == "").infer_objects().ffill()
    said = [
        f"momentum = {row.momentum}, weight decay = {row.weight_decay}" if swept else "" for row in rows.itertuples()
    ]
    wanted = list(zip(said, rows.arm, strict=True))
    for name in ("speedup", "speedup_to_target", "quality_difference"):
        axis = build(name, source).y
        heading, found = "", []
        for place, text in enumerate(axis.categories):
            heading = text if place in axis.headings else heading
            if place not in axis.headings and not heading.startswith("over all"):
                found.append((heading, text))
        assert found == wanted, name
    if swept:
        assert list(build("speedup_grid", source).y.categories) == list(dict.fromkeys(said))
        assert list(level_names(groups(comparison.data)).values()) == list(dict.fromkeys(said))


def write_grid(root: Path) -> None:
    """Two levels: an arm is 2x and 4x as fast, and at the second level another one failed."""
    for (place, decay), seed in itertools.product(enumerate((0.0, 0.1)), range(2)):
        swept = {"optimizer.weight_decay": decay}
        write_run(root, level("fixed", swept), seed, epoch_seconds=20.0, **kind_of(swept))
        write_run(root, level("large", swept), seed, epoch_seconds=10.0 / 2**place, batches=20, **kind_of(swept))
        broken: Any = {"state": "failed", "cause": "NonFiniteLoss"} if place else {}
        write_run(root, level("odd", swept), seed, epoch_seconds=40.0, batches=40, **broken, **kind_of(swept))


def test_a_heat_map_by_hand(tmp_path: Path) -> None:
    write_grid(tmp_path)
    found = picture(tmp_path, "speedup_grid", None, margin=10)
    assert found.x.categories == ("large", "odd")
    assert found.y.categories == ("weight decay = 0.0", "weight decay = 0.1")
    cells = {(mark.row, mark.column): mark for mark in found.marks if isinstance(mark, Cell)}
    assert [cells[place].text for place in ((0, 0), (0, 1), (1, 0))] == ["2.00x", "0.50x", "4.00x"]
    assert (cells[1, 1].text, math.isnan(cells[1, 1].value)) == ("failed in 2 of 2 runs", True)
    assert found.colours is not None
    # equally far to both sides, as a ratio
    assert (found.colours.low, found.colours.middle, found.colours.high) == pytest.approx((0.25, 1.0, 4.0))


def test_every_picture_of_awkward_sweeps_is_a_picture_or_a_sentence(tmp_path: Path) -> None:
    for write in (twelve_arms, imported):
        for name, found in all_pictures(write(tmp_path / write.__name__)).items():
            assert bool(found.marks) != bool(found.empty), name
            for mark in found.marks:
                if isinstance(mark, (Interval, Bar, Cell)):
                    assert mark.row < len(found.y.categories), name


def test_twelve_arms_are_all_in_the_forest_plot(tmp_path: Path) -> None:
    found = picture(twelve_arms(tmp_path), "speedup", None)
    assert len(found.y.categories) == 11
    words = {name: mark.text for name, mark in intervals(found).items() if math.isnan(mark.value)}
    assert words == {
        "fixed_at_the_third_batch_of_the_growing_arm": "refused",
        "refused_for_its_nesterov_momentum": "refused",
    }
    styles = [mark.style for mark in intervals(found).values()]
    assert len(set(styles)) == 11
