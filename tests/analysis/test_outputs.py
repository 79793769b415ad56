"""The commands and what they print and write: text, Markdown, LaTeX, CSV, JSON, HTML, figures."""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

import analysis
from adabatch.rundir.journal import LAUNCH_FOLDER
from adabatch.rundir.preregistration import read_registrations, register
from analysis.formats import to_html, to_latex, to_markdown
from analysis.table import Table
from analysis.tables import make_tables
from analysis.tables_of_runs import batch_ranges
from tests.analysis.commands import run
from tests.analysis.runs import write_run
from tests.analysis.sweeps import imported, two_arms
from tests.analysis.test_latex import grid_sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    return two_arms(tmp_path / "sweep")


def test_text_for_people(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "tables", sweep)
    assert "\x1b" not in text
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    assert "fixed 10 2 90.00 ± 0.00 90.00 baseline" in lines
    # Twice -0.05 points on 359 samples: plus or minus 12.7062 * (100 / 359 / sqrt(6)) / sqrt(2) = 1.02
    assert "adaptive_100% 10 to 20 2 2 89.95 ± 0.00 89.95 -0.05 -1.07 to +0.97 undecided: about 5 seeds" in lines
    # 20 / 10 and 24 / 10: geometric mean 2.19, times or by exp(12.7062 * ln(1.2) / 2) = 3.18. Noise: the logarithms of
    # 20 and 24 have a standard deviation of ln(1.2) / sqrt(2) = 0.129, those of 10 and 10 none: 0.091 over both.
    assert "adaptive_100% 2.19x, test accuracy undecided 0.69 to 6.98 undecided: about 6 seeds 2 9.1 %" in lines
    # The verdicts come first, each with its number.
    verdicts = "undecided: about 6 seeds (2.19x) undecided: about 6 seeds (2.19x, test accuracy undecided)"
    assert f"adaptive_100% {verdicts} undecided: about 5 seeds (-0.05)" in lines[:5]
    # The target is 90 - 1 points and reached after the second epoch: 10 s against the median of 20 and 24.
    reached = "89.00 2 of 2 (34 to 100 %) 2 of 2 10 s 22 s 2.19x 0.69 to 6.98 undecided: about 6 seeds 2 9.1 %"
    assert f"adaptive_100% {reached}" in lines
    assert any("4 runs (4 done); code aaaaaaaa; a processor; torch 2.14.1" in line for line in lines)


def test_the_ends_of_a_very_wide_interval_are_bounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, seconds in enumerate((5, 50)):
        write_run(tmp_path, "fixed", seed)
        write_run(tmp_path, "growing", seed, batches=(10, 20), epoch_seconds=seconds)
    # 10 / 5 and 10 / 50: geometric mean 0.63, times or by exp(12.7062 * ln(10) / 2) = 2.25 million
    lines = [re.sub(r"\s+", " ", line).strip() for line in run(capsys, "tables", tmp_path).splitlines()]
    seeds = "undecided: more than 1,000 seeds"
    assert any(line.startswith(f"growing 0.63x, test accuracy undecided <0.01 to >1,000 {seeds} 2 ") for line in lines)
    frame = pd.read_csv(io.StringIO(run(capsys, "tables", tmp_path, "--format", "csv")))
    total = frame[(frame.table == "speedup") & (frame.quantity == "total")].iloc[0]
    factor = math.exp(12.7062 * math.log(10) / 2)
    assert total.value == pytest.approx(math.sqrt(0.4))
    assert (total.low, total.high) == pytest.approx((math.sqrt(0.4) / factor, math.sqrt(0.4) * factor), rel=1e-4)


def on_a_terminal(folder: Path, width: int) -> list[str]:
    environment = {**os.environ, "COLUMNS": str(width), "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"}
    command = [sys.executable, "-m", "analysis", "tables", str(folder)]
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "\x1b[" in text
    return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()


@pytest.mark.slow
def test_a_table_fits_eighty_columns(sweep: Path) -> None:
    lines = on_a_terminal(sweep, 80)
    assert max(map(len, lines)) <= 80
    assert "adaptive_100%" in "\n".join(lines)
    assert "…" not in "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 160])
def test_a_grid_over_other_keys_is_named_once(tmp_path: Path, width: int) -> None:
    lines = on_a_terminal(grid_sweep(tmp_path / "sweep"), width)
    assert max(map(len, lines)) <= width
    start = lines.index("Verdicts: fashion_mnist-resnet20, against fixed_small")
    assert lines[start + 1].split()[:3] == ["momentum", "weight_decay", "arm"]
    arm = "fixed_large_"  # in 80 columns "by_the_rule" comes below
    points = [line.partition(arm)[0].split() for line in lines[start:] if arm in line][:6]
    assert points == [["0.9", "0"], ["0.0005"], ["0.001"], ["0.95", "0"], ["0.0005"], ["0.001"]]
    assert not any("optimizer." in line for line in lines)
    heads = [
        line.split()
        for line in lines[start : lines.index("Time to the target: fashion_mnist-resnet20, against fixed_small")]
    ]
    # in 80 columns further ones come below, with the names of the rows
    assert sum(words[:3] == ["momentum", "weight_decay", "arm"] for words in heads) == (1 if width == 160 else 2)


def test_a_level_that_all_rows_share_is_in_the_title(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch = {"swept": {"optimizer.momentum": 0.9}}
    for arm in ("fixed", "growing"):
        write_run(tmp_path, f"{arm},optimizer.momentum=0.9", baseline="fixed,optimizer.momentum=0.9", launch=launch)
    text = run(capsys, "tables", tmp_path)
    assert "Verdicts: digits-tiny_cnn, optimizer.momentum=0.9, against fixed\n" in text
    assert re.search(r"^growing +", text, flags=re.MULTILINE)
    assert "growing,optimizer" not in text


def test_keys_that_end_alike_keep_what_tells_them_apart(tmp_path: Path) -> None:
    for value in (1, 2):
        swept = {"dataset.num_workers": value, "hardware.num_workers": value}
        level = "".join(f",{key}={value}" for key in swept)
        for arm in ("fixed", "growing"):
            launch = {"swept": swept}
            write_run(
                tmp_path, arm + level, baseline=f"fixed{level}", launch=launch, accuracies=(0.5, 0.8 + value / 10)
            )
    table = make_tables(analysis.compare(analysis.load(tmp_path)))[0]
    assert table.columns[:3] == ["dataset.num_workers", "hardware.num_workers", "arm"]
    assert [row[:3] for row in table.rows] == [["1", "1", "growing"], ["2", "2", "growing"]]


def test_tables_hold_no_absolute_path() -> None:
    cause = "DataError: /home/somebody/data/train-images is truncated, see https://example.org/a/b and and/or x/y"
    table = Table("t", "/a/b/c", ["arm", "cause"], [["x", cause]], ["read from '/a b/c/d'"])
    assert table.rows == [["x", "DataError: .../train-images is truncated, see https://example.org/a/b and and/or x/y"]]
    assert table.title == ".../c"


def test_markdown_is_a_table_of_equal_columns(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "tables", sweep, "--format", "markdown")
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(blocks) == 7
    assert all(len({line.count("|") for line in block.splitlines()}) == 1 for block in blocks)
    assert re.search(r"\| adaptive_100% +\| +10 to 20 \|", text)
    assert "### Speedup: digits-tiny_cnn, against fixed" in text


def test_markdown_escapes_what_would_be_markup() -> None:
    nasty = "a|b `c` *d* _e_ f_g <b>h</b> [i](j) \\ ~k~ $l$ &amp; # m"
    text = to_markdown([Table("t", nasty, ["arm", nasty], [[nasty, "1"]], [nasty])], [nasty])
    shown = r"a\|b \`c\` \*d\* \_e\_ f_g \<b\>h\</b\> \[i\](j) \\ \~k\~ \$l\$ &amp;amp; \# m"
    assert text.startswith(f"### {shown}\n")
    assert f"- {shown}\n" in text
    assert text.endswith(f"{shown}\n")
    row = next(line for line in text.splitlines() if line.startswith("| a"))
    assert row.count(shown) == 1
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_latex_escapes_what_would_break_a_document() -> None:
    table = Table("t", "100 % & more_#", ["best_% {x}", "a"], [["50% & $x$ \\ ~ ^", "b_c"]], ["a_note with 5 %"])
    latex = to_latex([table])
    [row] = [line for line in latex.splitlines() if "50" in line]
    assert r"50\% \& \$x\$" in row
    assert row.endswith(r"& b\_c \\")
    assert r"best\_\% \{x\}" in latex
    assert r"100~\% \& more\_\#" in latex
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in latex
    unescaped = [line for line in latex.splitlines()[1:] if re.search(r"(?<!\\)%", line)]
    assert unescaped == []


def test_csv_and_json_hold_the_same_unrounded_numbers_and_their_runs(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(io.StringIO(run(capsys, "tables", sweep, "--format", "csv")))
    content = json.loads(run(capsys, "tables", sweep, "--format", "json"))
    total = frame.query("table == 'speedup' and quantity == 'total'").iloc[0]
    [same] = [entry for entry in content["numbers"] if entry["table"] == "speedup" and entry["quantity"] == "total"]
    assert frame.value.dtype == float
    assert total.value == pytest.approx(4.8**0.5, rel=1e-12)
    assert same["value"] == pytest.approx(total.value)
    assert same["git_shas"] == ["a" * 40]
    assert len(same["runs"]) == 4
    assert all(Path(path, "epochs.csv").exists() for path in same["runs"])
    assert content["targets"] == {"digits-tiny_cnn": pytest.approx(0.89)}
    assert {run["state"] for run in content["runs"]} == {"done"}


def test_verdicts_are_rows_of_their_own(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(run(capsys, "tables", sweep, "--format", "json"))
    rows = {(row["table"], row["arm"], row["quantity"]): row for row in content["numbers"]}
    total = rows["speedup", "adaptive_100%", "total_verdict"]
    assert total["value"] == total["verdict"] == "undecided: about 6 seeds"
    assert rows["speedup", "adaptive_100%", "updates_verdict"]["verdict"] == "exact"
    assert rows["quality", "adaptive_100%", "verdict"]["verdict"] == "undecided: about 5 seeds"
    assert rows["target", "adaptive_100%", "seconds_to_target_verdict"]["verdict"] == "undecided: about 6 seeds"
    assert rows["quality", "adaptive_100%", "difference"]["value"] == pytest.approx(-0.05)
    # 2 of 2: Wilson's lower end is 2 / (2 + 1.96**2)
    assert rows["target", "adaptive_100%", "reached_low"]["value"] == pytest.approx(2 / (2 + 1.959964**2), rel=1e-6)
    assert (content["quality"], content["unit"], content["margin"]) == ("test accuracy", "point", 1.0)
    assert (content["smallest_effect"], content["targets_are_declared"]) == (0.02, False)


def test_margin_and_smallest_effect_of_the_call_decide(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # the difference is -1.07 to 0.97 points, which lies within 2; the speedup is 2.19, 0.69 to 6.98
    text = run(capsys, "tables", sweep, "--margin", "2", "--smallest-effect", "0.1")
    plain = re.sub(r"\s+", " ", text)
    assert "-0.05 -1.07 to +0.97 equivalent within 2 points" in plain
    assert "compares the interval with 10 %, the smallest effect worth naming" in plain
    assert "2.19x, test accuracy" not in plain  # it stands without a mark
    assert "88.00 2 of 2" in plain  # 90 - 2
    content = json.loads(run(capsys, "tables", sweep, "--format", "json", "--margin", "2", "--smallest-effect", "0.1"))
    assert (content["margin"], content["smallest_effect"]) == (2.0, 0.1)
    assert content["targets"] == {"digits-tiny_cnn": pytest.approx(0.88)}


DECLARED = {"baseline": "fixed", "target": 0.85, "margin": 1.0, "smallest_effect": 0.02}


@pytest.fixture
def registered(tmp_path: Path) -> Path:
    """A sweep that declared what it is judged by before it ran."""
    root = tmp_path / "declared"
    launch = {key: value for key, value in DECLARED.items() if key != "baseline"}
    for seed in range(2):
        write_run(root, "fixed", seed, launch=launch)
        write_run(root, "adaptive", seed, epoch_seconds=5, batches=(10, 20), launch=launch)
    (root / LAUNCH_FOLDER).mkdir()
    register(root, DECLARED, 0)
    return root


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "; unchanged."),
        (["--margin", "1"], "; unchanged."),
        (["--margin", "3"], "; this comparison uses another margin."),
        (["--target", "0.8", "--smallest-effect", "0.1"], "; this comparison uses another target, smallest effect."),
    ],
)
def test_tables_say_whether_they_are_judged_as_was_registered(
    registered: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    [known] = read_registrations(registered)
    made_at = datetime.fromtimestamp(known.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
    head = f"declared: registered {made_at} as {known.digest}"
    text = re.sub(r"\s+", " ", run(capsys, "tables", registered, *words))
    assert head + sentence in text
    content = json.loads(run(capsys, "tables", registered, *words, "--format", "json"))
    assert content["registrations"] == [head + sentence]
    assert content["targets_are_declared"]


def test_a_declaration_that_changed_between_submissions_is_said(
    registered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = register(registered, {**DECLARED, "seeds": [0, 1]}, 3)
    text = re.sub(r"\s+", " ", run(capsys, "tables", registered))
    assert f"; changed after 3 runs were done (seeds), now {digest}." in text


def test_a_sweep_that_registered_nothing_is_not_called_registered(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "registered" not in run(capsys, "tables", sweep)


def test_json_knows_no_nan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path, "fixed", 0)
    write_run(tmp_path, "adaptive", 0, accuracies=(0.1, 0.2))
    text = run(capsys, "tables", tmp_path, "--format", "json")
    assert "NaN" not in text
    [entry] = [one for one in json.loads(text)["numbers"] if one["quantity"] == "seconds_to_target"]
    assert (entry["value"], entry["verdict"]) == (None, "not reached")


def test_a_refused_pair_is_a_table_of_its_own_and_an_exit_status(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"hardware.precision": "bf16"}
    write_run(sweep, "adaptive_100%", 7, batches=(10, 20), rates=(0.01, 0.01), changes=changes)
    write_run(sweep, "fixed", 7, rates=(0.01, 0.005))
    text = run(capsys, "tables", sweep, status=1)
    line = next(line for line in text.splitlines() if "hardware.precision" in line)
    assert re.split(r"\s{2,}", line.strip()) == ["adaptive_100%", "7", "hardware.precision", "bf16", "fp32", "all"]
    allowed = run(capsys, "tables", sweep, "--allow", "hardware.precision")
    assert "hardware.precision differs (bf16 against fp32), let through" in re.sub(r"\s+", " ", allowed)


def test_runs_without_a_number_are_listed_with_their_cause(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(sweep, "fixed", 5, rates=(0.01, 0.005), state="failed", cause="DataError: train-images is truncated")
    text = run(capsys, "tables", sweep)
    assert "Runs without a number" in text
    assert "DataError: train-images is truncated" in text
    assert re.search(r"fixed\s+10\s+2 of 3", text)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tables", "nowhere"], "nowhere does not exist; it must be a folder with runs."),
        (["tables", "{sweep}", "--target", "92.5"], "the target accuracy is 92.5; it must be a fraction"),
        (["tables", "{sweep}", "--target", "0"], "the target accuracy is 0; it must be a fraction between 0 and 1"),
        (["tables", "{sweep}", "--margin", "0"], "the margin is 0; it must be between 0 and 100 percentage points."),
        (["tables", "{sweep}", "--margin", "nan"], "the margin is nan; it must be between 0 and 100"),
        (["report", "{sweep}", "-o", "r.html", "--margin", "100"], "the margin is 100; it must be between 0 and 100"),
        (["tables", "{sweep}", "--smallest-effect", "1"], "the smallest effect is 1; it must be a share of at least 0"),
        (["tables", "{sweep}", "--smallest-effect", "-0.1"], "the smallest effect is -0.1; it must be a share"),
        (["tables", "{sweep}", "--baseline", "x"], "the baseline is x; it must be one of adaptive_100%, fixed."),
        (["figure", "{sweep}", "-o", "f.gif"], "the figure's suffix is .gif; it must be one of .pdf, .svg, .png."),
    ],
)
def test_wrong_calls_are_a_sentence_and_status_two(
    sweep: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    error = run(capsys, *(word.format(sweep=sweep) for word in words), status=2)
    assert error.startswith(sentence)
    assert len(error.splitlines()) == 1
    assert "Traceback" not in error


def test_a_report_lies_in_the_sweeps_folder_unless_told_otherwise(
    sweep: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(capsys, "report", sweep).strip() == str(sweep / "report.html")
    assert "Verdicts" in (sweep / "report.html").read_text(encoding="utf-8")
    assert run(capsys, "report", sweep, "-o", tmp_path / "r.html").strip() == str(tmp_path / "r.html")
    before = run(capsys, "tables", sweep, "--format", "csv")
    (sweep / "report.html").unlink()
    assert run(capsys, "tables", sweep, "--format", "csv") == before  # it is no run
    cell = next(sweep.iterdir())
    error = run(capsys, "report", cell, sweep, status=2)
    assert error == "-o is not given; it must be where report.html is written, because there are several folders.\n"


def test_html_escapes_cells() -> None:
    text = to_html([Table("t", "<script>", ["<script>"], [["<script>"]], ["<script> & <b>"])])
    assert "<script>" not in text
    assert "&lt;script&gt; &amp; &lt;b&gt;" in text


def test_parts_that_nobody_measured_are_named_once(tmp_path: Path) -> None:
    [parts] = [one for one in make_tables(analysis.compare(analysis.load(imported(tmp_path)))) if one.name == "parts"]
    assert parts.rows == [
        ["growing", "updates", "1.71x", "", "exact", "3"],
        ["large", "updates", "4.00x", "", "exact", "3"],
    ]
    assert parts.notes[-1] == "Not measured in any run: with tests, forward, backward."


def test_html_sets_words_to_the_left_and_numbers_to_the_right() -> None:
    text = to_html([Table("t", "T", ["arm", "pairs"], [["fixed", "3"]])])
    assert re.findall(r'text-align: (\w+)">([^<]+)<', text) == [
        ("left", "arm"), ("right", "pairs"), ("left", "fixed"), ("right", "3"),
    ]  # fmt: skip


def test_the_batch_of_an_arm_is_that_of_its_finished_runs(tmp_path: Path) -> None:
    write_run(tmp_path, "grown", 0, batches=(10, 20))
    write_run(tmp_path, "grown", 1, accuracies=(0.1,), batches=(10,), state="running", changes={"num_epochs": 2})
    comparison = analysis.compare(analysis.load(tmp_path))
    assert batch_ranges(comparison) == {("digits-tiny_cnn", "grown"): "10 to 20"}


def test_a_comparison_shows_itself_in_a_notebook(sweep: Path) -> None:
    html = analysis.compare(analysis.load(sweep))._repr_html_()
    assert "<table" in html
    assert "2.19x" in html


def test_the_forecast_table_by_hand(tmp_path):
    forecasts = {("fixed", 0): 22.0, ("fixed", 1): 22.0, ("adaptive", 0): 9.0, ("adaptive", 1): 9.0}
    for (arm, seed), seconds in forecasts.items():
        predicted = {"train_seconds": seconds - 1.0, "growth_seconds": 1.0, "test_seconds": 0.5}
        write_run(tmp_path, arm, seed, epoch_seconds=10.0 if arm == "fixed" else 5.0, launch={"forecast": predicted})
    (table,) = [table for table in make_tables(analysis.compare(analysis.load(tmp_path))) if table.name == "forecast"]
    # two epochs: 22 s predicted and 20 s taken; 9 s and 10 s. Speedups 22 / 9 and 20 / 10.
    assert table.rows == [
        ["adaptive", "2", "9.0 s", "10 s", "-10 %", "2.44x", "2.00x"],
        ["fixed", "2", "22 s", "20 s", "+10 %", "baseline", ""],
    ]


def test_the_forecast_without_and_with_graphs_by_hand(tmp_path):
    """Without graphs 40 s against 10 s, with them 15 s against 7.5 s; one arm ran without, one with."""
    for arm, own, other, uses_graphs in (("fixed", 15.0, 40.0, True), ("adaptive", 10.0, 7.5, False)):
        parts = [{"train_seconds": s - 1.0, "growth_seconds": 1.0, "test_seconds": 0.5} for s in (own, other)]
        predicted = {
            **parts[0],
            "uses_graphs": uses_graphs,
            "counterpart": {**parts[1], "uses_graphs": not uses_graphs},
        }
        write_run(tmp_path, arm, 0, launch={"forecast": predicted})
    tables = {table.name: table for table in make_tables(analysis.compare(analysis.load(tmp_path)))}
    assert tables["forecast_graphs"].rows == [
        ["adaptive", "10 s", "7.5 s", "4.00x", "2.00x"],
        ["fixed", "40 s", "15 s", "baseline", ""],
    ]


def test_runs_without_a_forecast_have_no_forecast_table(tmp_path):
    write_run(tmp_path, "fixed")
    write_run(tmp_path, "adaptive")
    assert "forecast" not in [table.name for table in make_tables(analysis.compare(analysis.load(tmp_path)))]
