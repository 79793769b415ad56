"""Pictures: how arms look, what legends and axes say, and the files of the command ``figure``."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import xml.etree.ElementTree
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

import analysis
from adabatch.errors import ConfigError
from analysis.cli import main
from analysis.figures.alternative import alternative_text
from analysis.figures.arm_styles import arm_styles, style_at
from analysis.figures.costs import time_by_span
from analysis.figures.curves import CURVES, curve_frame
from analysis.figures.marks import Interval, Line, Picture, Points, legend
from analysis.figures.registry import PICTURES, build
from analysis.figures.screen import draw
from analysis.figures.source import groups, source_of
from analysis.figures.themes import DARK, LIGHT
from analysis.figures.ticks import log_ticks, number_text, number_texts
from analysis.figures.words import balanced, name_lines, wrapped
from analysis.names import plain_arm
from tests.analysis.commands import run
from tests.analysis.runs import write_run
from tests.analysis.sweeps import grid_of_six, imported, twelve_arms, two_arms


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return two_arms(tmp_path / "sweep")


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> analysis.Comparison:
    return analysis.compare(analysis.load(twelve_arms(tmp_path_factory.mktemp("twelve"))))


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> analysis.Comparison:
    return analysis.compare(analysis.load(grid_of_six(tmp_path_factory.mktemp("grid"))))


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2."""
    lights = []
    for colour in (one, other):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize("count", [12, 40])
def test_no_two_arms_look_alike_even_without_markers(count: int) -> None:
    styles = [style_at(place) for place in range(count)]
    assert len({(style.colour, style.dash) for style in styles}) == count
    assert len({(style.dark_colour, style.dash) for style in styles}) == count
    # next to each other, in grey too
    assert all(one.dash != other.dash and one.marker != other.marker for one, other in pairwise(styles))


def test_arms_and_texts_are_seen_on_their_page() -> None:
    for style in map(style_at, range(12)):
        assert contrast(style.colour, LIGHT.paper) >= 3
        assert contrast(style.dark_colour, DARK.paper) >= 3
    for colours in (LIGHT, DARK):
        assert contrast(colours.text, colours.paper) >= 7
        assert contrast(colours.quiet, colours.paper) >= 4.5
        for field in (colours.low, colours.middle, colours.high):
            assert contrast(colours.text, field) >= 4.5


def test_an_arm_looks_the_same_in_all_cells_of_a_grid(grid: analysis.Comparison) -> None:
    source = source_of(grid)
    seen: dict[str, set[object]] = {}
    for group in groups(grid.data):
        for entry in legend(build("accuracy_by_epoch", source, group)):
            seen.setdefault(entry.label, set()).add(entry.style)
    assert {label: len(styles) for label, styles in seen.items()} == {"fixed": 1, "growing": 1, "large": 1}
    assert len(set().union(*seen.values())) == 3
    assert seen["fixed"] == {style_at(0)}


def test_a_filter_changes_no_style(twelve: analysis.Comparison) -> None:
    whole = arm_styles(twelve.data)
    assert len(set(whole.values())) == len(whole) == 12
    chosen = source_of(twelve, ["growing_twice_every_four_epochs", "fixed"])
    assert list(chosen.styles) == ["growing_twice_every_four_epochs", "fixed"]
    assert all(style == whole[arm] for arm, style in chosen.styles.items())
    # what was refused is not drawn, and leaves its style to no other arm
    drawn = {plain_arm(arm) for arm in twelve.counted.runs.arm}
    assert drawn < set(whole)


def test_arms_of_one_batch_size_and_rate_lie_side_by_side(tmp_path: Path) -> None:
    data = analysis.load(imported(tmp_path))
    [group] = groups(data)
    picture = build("throughput", source_of(data), group)
    x = {mark.label: list(mark.x) for mark in picture.marks if isinstance(mark, Points)}
    # the batch sizes of the arms are 100; 100, 200, 400; and 400. Two of one place are 0.03 of the axis' two octaves
    # apart, half of it to each side.
    half = 2 ** (0.03 * 2 / 2)
    assert x["small"] == pytest.approx([100 / half])
    assert x["growing"] == pytest.approx([100 * half, 200, 400 / half])
    assert x["large"] == pytest.approx([400 * half])
    assert "where points coincide, they are drawn side by side around their place" in picture.notes
    # what is said of a point, and the ticks, are the batch sizes
    [small] = [mark for mark in picture.marks if isinstance(mark, Points) and mark.label == "small"]
    assert "at batch 100<br>" in small.hover[0]
    assert draw(picture).layout.xaxis.tickvals == (100, 200, 400)


def test_arms_of_one_batch_size_that_differ_in_rate_stay_at_their_place(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", epoch_seconds=10)
    write_run(tmp_path, "fast", epoch_seconds=8)
    picture = build("throughput", source_of(analysis.load(tmp_path)), "digits-tiny_cnn")
    assert [list(mark.x) for mark in picture.marks if isinstance(mark, Points)] == [[10.0], [10.0]]
    assert "side by side" not in " ".join(picture.notes)


def test_a_forecast_has_no_points(twelve: analysis.Comparison) -> None:
    figure = draw(build("throughput", source_of(twelve), groups(twelve.data)[0]))
    assert {trace.mode for trace in figure.data if trace.name == "forecast"} == {"lines"}
    assert {trace.name for trace in figure.data if "markers" in trace.mode} >= {"fixed"}
    assert all(trace.hoverinfo != "skip" for trace in figure.data)


@pytest.mark.parametrize(("seconds", "begins_at_zero"), [(6.0, False), (2.0, True)])
def test_a_time_that_does_not_begin_at_zero_is_said(tmp_path: Path, seconds: float, begins_at_zero: bool) -> None:
    for seed in range(2):
        write_run(tmp_path, "fixed", seed, epoch_seconds=10.0, rates=(0.01, 0.005))
        write_run(tmp_path, "grown", seed, epoch_seconds=seconds, batches=(10, 20), rates=(0.01, 0.01))
    picture = build("quality_by_time", source_of(analysis.compare(analysis.load(tmp_path))), "digits-tiny_cnn")
    assert picture.x.from_zero == begins_at_zero
    assert ("The axis of the time does not begin at 0." in picture.notes) == (not begins_at_zero)
    axis = draw(picture).layout.xaxis
    # a twentieth is left behind the last mark, at 20 s
    assert axis.autorangeoptions.include == ((pytest.approx(21.0),) if begins_at_zero else None)


def test_steps_begin_at_the_start_of_the_first_epoch(sweep: Path) -> None:
    picture = build("batch_size", source_of(analysis.load(sweep)), "digits-tiny_cnn")
    [grown] = [mark for mark in picture.marks if isinstance(mark, Line) and mark.label == "adaptive_100%"]
    assert (list(grown.x), list(grown.y), grown.steps) == ([0.0, 1.0, 2.0], [10.0, 10.0, 20.0], "before")


def test_errors_are_what_accuracies_lack(sweep: Path) -> None:
    picture = build("error_by_epoch", source_of(analysis.load(sweep)), "digits-tiny_cnn")
    lines = {mark.label: mark for mark in picture.marks if isinstance(mark, Line)}
    assert lines["fixed"].y == pytest.approx([50.0, 10.0])
    assert lines["adaptive_100%"].y == pytest.approx([50.0, 10.05])
    assert picture.y.scale == "log10"


@pytest.mark.parametrize(("epoch_seconds", "label", "last"), [(100, "s", 200.0), (1200, "min", 40.0), (7200, "h", 4.0)])
def test_times_have_a_unit_of_their_size(tmp_path: Path, epoch_seconds: float, label: str, last: float) -> None:
    write_run(tmp_path, "fixed", 0, epoch_seconds=epoch_seconds)
    picture = build("accuracy_by_seconds", source_of(analysis.load(tmp_path)), "digits-tiny_cnn")
    [line] = [mark for mark in picture.marks if isinstance(mark, Line)]
    assert picture.x.label == f"time of training and growth, {label}"
    assert line.x[-1] == pytest.approx(last)


def test_the_exponent_of_a_rate_per_sample_is_said(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0)
    write_run(tmp_path, "root", 0, changes={"schedule.learning_rate_exponent": 0.5})
    picture = build("rate_per_sample", source_of(analysis.load(tmp_path)), "digits-tiny_cnn")
    assert picture.y.label == "learning rate per sample"
    assert "learning rate / batch size to the power p, of the schedule's exponent p = 0.5 or 1" in picture.notes


def test_a_picture_without_its_data_says_so(tmp_path: Path) -> None:
    data = analysis.load(imported(tmp_path))
    [group] = groups(data)
    picture = build("train_loss", source_of(data), group)
    assert picture.empty == "No run of these has logged training loss epoch by epoch."
    assert not picture.marks
    assert alternative_text(picture) == f"Training loss. {picture.empty}"
    with pytest.raises(ConfigError, match="There is nothing to draw: No run of these has logged training loss"):
        analysis.save_figure(data, tmp_path / "f.svg", ["train_loss"])
    with pytest.raises(ConfigError, match="There is nothing to draw: The arms are not compared yet"):
        analysis.save_figure(data, tmp_path / "f.svg", ["speedup"])


def test_alternative_texts_hold_the_numbers(sweep: Path) -> None:
    source = source_of(analysis.compare(analysis.load(sweep)))
    text = alternative_text(build("batch_size", source, "digits-tiny_cnn"))
    assert text == ("Batch size. batch size, samples against epoch. fixed: ends at 10; adaptive_100%: ends at 20.")
    picture = build("speedup", source)
    [interval] = [mark for mark in picture.marks if isinstance(mark, Interval)]
    assert interval.value == pytest.approx(math.sqrt(2.0 * 2.4))
    # Two seeds: t(0.975, 1) = 12.71 times half the distance of log 2 and log 2.4, to both sides of log 2.19
    ends = [math.sqrt(2.0 * 2.4) * math.exp(sign * 12.7062 * math.log(2.4 / 2) / 2) for sign in (-1, 1)]
    assert f"95 % interval {ends[0]:.2f}x to {ends[1]:.2f}x, 2 pairs of seeds" in alternative_text(picture)
    assert "adaptive_100%: 2.19x" in alternative_text(picture)


def test_alternative_texts_write_wide_intervals_as_tables_do(tmp_path: Path) -> None:
    for seed, seconds in enumerate((1.0, 300.0)):
        write_run(tmp_path, "fixed", seed, accuracies=(0.5, 0.9), epoch_seconds=seconds, rates=(0.01, 0.005))
        write_run(tmp_path, "large", seed, accuracies=(0.5, 0.9), epoch_seconds=5, batches=(10, 20), rates=(0.01, 0.01))
    source = source_of(analysis.compare(analysis.load(tmp_path)))
    text = alternative_text(build("speedup", source))
    assert "95 % interval <0.01x to >1,000x" in text
    assert not re.search(r"\de[-+]\d", text)


def test_alternative_texts_name_the_swept_values_of_a_row(grid: analysis.Comparison) -> None:
    source = source_of(grid)
    for name in ("speedup", "quality_difference"):
        text = alternative_text(build(name, source))
        assert len(re.findall(r"momentum = 0\.\d, weight decay = [\d.]+, (?:growing|large): [-+\d]", text)) == 12
    text = alternative_text(build("speedup_grid", source))
    assert len(re.findall(r"(?:growing|large) \d\.\d\dx", text)) == 12
    text = alternative_text(build("time_by_span", source, groups(grid.data)[0]))
    assert re.search(r"fixed: data: [\d.]+, forward: [\d.]+, backward: ", text)


def test_alternative_texts_write_small_numbers_as_axes_do(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", rates=(0.0002, 0.0001), batches=10)
    text = alternative_text(build("rate_per_sample", source_of(analysis.load(tmp_path)), "digits-tiny_cnn"))
    assert text.endswith("fixed: ends at 10⁻⁵.")


@pytest.mark.parametrize("comparison", ["twelve", "grid"])
def test_every_picture_can_be_drawn(comparison: str, request: pytest.FixtureRequest) -> None:
    compared: analysis.Comparison = request.getfixturevalue(comparison)
    source = source_of(compared)
    group = groups(compared.counted)[0]
    for name, kind in PICTURES.items():
        picture = build(name, source, group if kind.is_per_group else None)
        assert isinstance(picture, Picture)
        assert bool(picture.empty) != bool(picture.marks)
        assert picture.name == name
        figure = analysis.plot(compared, name, group)
        labels = [trace.name for trace in figure.data if trace.showlegend is not False and trace.type != "heatmap"]
        assert labels == [entry.label for entry in legend(picture)]


def test_the_ticks_of_one_axis_are_written_alike() -> None:
    assert number_texts([0.01, 0.001, 0.0001]) == ["0.01", "0.001", "0.0001"]
    assert number_texts([1e-3, 1e-4, 1e-5, 1e-6]) == ["10⁻³", "10⁻⁴", "10⁻⁵", "10⁻⁶"]
    assert number_texts([5e-5, 1e-4, 2e-4]) == ["5·10⁻⁵", "10⁻⁴", "2·10⁻⁴"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.001, "0.001"), (32768, "32,768"), (1e-6, "10⁻⁶"), (1e7, "10⁷"), (2e-5, "2·10⁻⁵"), (-0.5, "-0.5")],
)
def test_numbers_of_ticks(value: float, text: str) -> None:
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("low", "high", "base", "wanted"),
    [
        (16, 128, 2, [16, 32, 64, 128]),
        (0.0003, 0.1, 10, [0.0001, 0.001, 0.01, 0.1]),
        (2, 50, 10, [1, 2, 5, 10, 20, 50]),
        (0.9, 3.2, 2, [0.5, 0.75, 1, 1.5, 2, 3]),
        (1.0, 1.5, 2, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]),
        (0.002, 600, 2, [0.001, 0.01, 0.1, 1, 10, 100]),
        (0.00002, 30_000, 2, [1e-6, 1e-4, 0.01, 1, 100, 10_000]),
        (0.3, 9, 2, [0.25, 0.5, 1, 2, 4, 8]),
    ],
)
def test_ticks_of_logarithmic_axes(low: float, high: float, base: int, wanted: list[float]) -> None:
    found = [tick for tick in log_ticks(low, high, base) if tick <= high * 1.001]
    assert found == pytest.approx(wanted)


def test_batch_sizes_that_are_no_powers_of_two_have_ticks_of_their_own(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", batches=100)
    write_run(tmp_path, "grown", batches=(100, 400))
    source = source_of(analysis.load(tmp_path))
    [group] = groups(source.data)
    found = draw(build("batch_size", source, group)).layout.yaxis
    assert (found.tickvals, found.ticktext) == ((100, 400), ("100", "400"))
    found = draw(build("throughput", source, group)).layout.xaxis
    assert (found.tickvals, found.ticktext) == ((100, 400), ("100", "400"))
    # 100 and 110 would lie on each other
    write_run(tmp_path, "near", batches=(100, 110))
    found = draw(build("batch_size", source_of(analysis.load(tmp_path)), group)).layout.yaxis
    assert found.tickvals == (64, 96, 128, 192, 256, 384, 512, 768)


def test_long_names_break_behind_marks_only() -> None:
    assert wrapped("fixed_at_the_second_batch_of_the_growing_arm", 20) == [
        "fixed_at_the_second_", "batch_of_the_", "growing_arm"
    ]  # fmt: skip
    assert wrapped("unbreakableandverylong", 10) == ["unbreakableandverylong"]
    assert wrapped("mean time of a run, min", 20) == ["mean time of a run,", "min"]
    assert balanced("mean time of a run, min", 20) == ["mean time of", "a run, min"]
    assert balanced("epoch", 20) == ["epoch"]
    assert name_lines("momentum = 0.8, weight decay = 0.0", 22) == ["momentum = 0.8,", "weight decay = 0.0"]
    assert name_lines("fixed_at_the_second_batch", 20) == wrapped("fixed_at_the_second_batch", 20)


# The command figure.

_TEXT_IN_SVG = "svg.fonttype: none\n"
_SVG = "{http://www.w3.org/2000/svg}"


def texts_of(path: Path) -> list[str]:
    """Return the texts of an SVG whose style keeps them as texts."""
    root = xml.etree.ElementTree.parse(path).getroot()
    return ["".join(element.itertext()).strip() for element in root.iter(f"{_SVG}text")]


@pytest.fixture
def text_style(tmp_path: Path) -> Path:
    path = tmp_path / "text.mplstyle"
    path.write_text(_TEXT_IN_SVG)
    return path


@pytest.mark.slow
def test_a_figure_lies_in_the_sweeps_folder_unless_told_otherwise(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "figure", sweep, "--pictures", "batch_size").strip() == str(sweep / "figure.pdf")
    assert (sweep / "figure.pdf").read_bytes().startswith(b"%PDF")
    run(capsys, "figure", sweep, "--pictures", "batch_size", "-o", sweep / "new" / "drawn.pdf")
    assert (sweep / "new" / "drawn.pdf").exists()
    error = run(capsys, "figure", sweep, sweep, status=2)
    assert error.startswith("-o is not given; it must be where figure.pdf is written")


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".png"])
def test_figures_for_a_paper(sweep: Path, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"figure{suffix}"
    assert main(["figure", str(sweep), "-o", str(path), "--pictures", "batch_size,accuracy_by_seconds"]) == 0
    start = path.read_bytes()[:5]
    assert start.startswith({".svg": b"<?xml", ".pdf": b"%PDF", ".png": b"\x89PNG"}[suffix])


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".svg", ".pdf"])
def test_a_figure_is_the_same_file_in_each_process(
    grid: analysis.Comparison, tmp_path_factory: pytest.TempPathFactory, suffix: str
) -> None:
    folder = tmp_path_factory.mktemp("same")
    runs = Path(str(grid.data.runs.index[0])).parents[2]
    pictures = "speedup,speedup_grid,quality_by_time,accuracy_by_epoch,batch_size,speedup_parts,time_by_span"
    group = groups(grid.data)[0]
    files = []
    for place in range(2):
        path = folder / f"{place}{suffix}"
        words = ["figure", str(runs), "-o", str(path), "--pictures", pictures, "--group", group]
        # Orders that follow from hashes differ between processes.
        environment = {**os.environ, "PYTHONHASHSEED": str(place + 1)}
        subprocess.run([sys.executable, "-m", "analysis", *words], check=True, env=environment, capture_output=True)
        files.append(path.read_bytes())
    # Up to 3.9 matplotlib names the embedded part of a font by the hash of its letters.
    one, other = (re.sub(rb"/[A-Z]{6}\+", b"/", file) for file in files)
    assert one == other
    assert len(one) > 10_000


def test_curves_are_means_over_seeds(sweep: Path) -> None:
    data = analysis.load(sweep)
    frame = curve_frame(data, "digits-tiny_cnn", CURVES["accuracy_by_seconds"])
    last = frame[frame.arm == "fixed"].iloc[-1]
    assert (last.x, last.y, last.n) == (pytest.approx(22.0), pytest.approx(90.0), 2)
    rates = curve_frame(data, "digits-tiny_cnn", CURVES["rate_per_sample"])
    assert set(rates.y.round(12)) == {0.001, 0.0005}
    spans = time_by_span(data, "digits-tiny_cnn")
    assert spans.loc["fixed", "forward"] == pytest.approx(22 / 4)


def test_a_curve_over_seconds_does_not_jump_where_a_slower_seed_is_not_there_yet(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", 0, accuracies=(0.1, 0.2, 0.3), epoch_seconds=10)
    write_run(tmp_path, "fixed", 1, accuracies=(0.1,), epoch_seconds=50, state="running", changes={"num_epochs": 3})
    frame = curve_frame(analysis.load(tmp_path), "digits-tiny_cnn", CURVES["accuracy_by_seconds"])
    assert list(frame.x) == [30.0, 40.0, 50.0]
    assert list(frame.n) == [2, 1, 1]


@pytest.mark.slow
def test_a_grid_has_one_legend_and_names_each_level_once(
    tmp_path: Path, text_style: Path, grid: analysis.Comparison
) -> None:
    path = analysis.save_figure(grid, tmp_path / "f.svg", sheet=analysis.Sheet(style=str(text_style)))
    texts = texts_of(path)
    assert [texts.count(arm) for arm in ("fixed", "growing", "large")] == [1, 1, 1]
    # a heading may be broken over lines
    levels = re.findall(r"momentum = [\d.]+, weight decay = [\d.]+", " ".join(texts))
    assert len(levels) == len(set(levels)) == 6
    assert "momentum = 0.9, weight decay = 0.005" in levels


@pytest.mark.slow
def test_a_heat_map_has_room_without_being_asked_to(tmp_path: Path, grid: analysis.Comparison) -> None:
    assert analysis.save_figure(grid, tmp_path / "f.svg", ["speedup_grid", "quality_grid"]).exists()


@pytest.mark.slow
def test_arms_without_a_number_are_named_on_paper(
    tmp_path: Path, text_style: Path, twelve: analysis.Comparison
) -> None:
    path = analysis.save_figure(twelve, tmp_path / "f.svg", ["speedup"], sheet=analysis.Sheet(style=str(text_style)))
    assert texts_of(path).count("refused") == 2


@pytest.mark.slow
def test_a_legend_of_twelve_long_names_is_whole(tmp_path: Path, text_style: Path, twelve: analysis.Comparison) -> None:
    for width in (3.3, 7.0):
        sheet = analysis.Sheet(width_inches=width, style=str(text_style))
        path = analysis.save_figure(twelve, tmp_path / "f.svg", ["accuracy_by_epoch"], sheet=sheet)
        arms = {plain_arm(arm) for arm in twelve.counted.runs.arm}
        # a name may be broken over lines; "fixed" is a part of others
        whole = "".join(texts_of(path))
        assert len(arms) >= 9
        assert {arm: whole.count(arm) for arm in arms - {"fixed"}} == dict.fromkeys(arms - {"fixed"}, 1)
        root = xml.etree.ElementTree.parse(path).getroot()
        right = float(root.attrib["width"].removesuffix("pt"))
        places = re.findall(r"translate\(([-\d.]+) ([-\d.]+)\)", path.read_text())
        assert all(0 <= float(x) <= right for x, _ in places)


@pytest.mark.slow
def test_sizes_names_and_order_are_as_asked(
    sweep: Path, tmp_path: Path, text_style: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "f.svg"
    words = ["figure", sweep, "-o", path, "--style", text_style, "--pictures", "batch_size"]
    run(capsys, *words, "--width", "1-column", "--height", "2", "--title", "Batch $b$", "--font-size", "7",
        "--arms", "adaptive_100%,fixed", "--label", "fixed=Fixed batch")  # fmt: skip
    root = xml.etree.ElementTree.parse(path).getroot()
    # 3.3 and 2 inches of 72 points
    assert (root.attrib["width"], root.attrib["height"]) == ("237.6pt", "144pt")
    texts = texts_of(path)
    assert "Batch $b$" in texts
    assert texts.index("adaptive_100%") < texts.index("Fixed batch")
    assert "fixed" not in texts
    assert re.search(r"font: 7px|font-size: 7px", path.read_text())
    run(capsys, *words[:2], "-o", tmp_path / "f.png", "--width", "2", "--pictures", "batch_size", "--arms", "fixed")
    with Image.open(tmp_path / "f.png") as image:
        assert image.width == 600


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--pictures", "batchsize"), "the picture is batchsize; it must be one of speedup, "),
        (("--group", "x"), "the group is x; it must be one of digits-tiny_cnn."),
        (("--arms", "fixed,grown"), "the arm is grown; it must be one of fixed, adaptive_100%."),
        (("--label", "grown=Grown"), "the arm is grown; it must be one of fixed, adaptive_100%."),
        (("--label", "fixed"), "--label is fixed; it must be ARM=TEXT, such as growing='Growing batch'."),
        (("--label", "fixed=adaptive_100%"), "adaptive_100% is the name of two arms in the figure"),
        (("--width", "wide"), "--width is wide; it must be 0.5 to 60 inches, or 1-column, or 2-column."),
        (("--height", "nan"), "--height is nan; it must be 0.5 to 60 inches."),
        (("--font-size", "0"), "--font-size is 0; it must be 3 to 40 points."),
        (("--style", "nothing"), "--style is nothing; it must be a file with settings of matplotlib, or one of"),
        (("--width", "0.6"), "The figure is 0.6 x "),
        (("-o", "figure.gif"), "the figure's suffix is .gif; it must be one of .pdf, .svg, .png."),
    ],
)
def test_a_wrong_call_is_a_sentence(
    sweep: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    error = run(capsys, "figure", sweep, *words, status=2)
    assert error.startswith(sentence)
    assert "Traceback" not in error


def test_an_unknown_picture_or_group_of_a_plot_is_refused(sweep: Path) -> None:
    data = analysis.load(sweep)
    with pytest.raises(ConfigError, match=r"the picture is x; it must be one of speedup, "):
        analysis.plot(data, "x")
    with pytest.raises(ConfigError, match=r"the group is x; it must be one of digits-tiny_cnn"):
        analysis.plot(data, "batch_size", "x")
