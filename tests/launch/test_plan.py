"""Plans, against numbers computed by hand."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
from rich.console import Console

from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import mark_done
from launch.cli import main
from launch.config import load_sweep
from launch.expand import expand
from launch.lint import lint
from launch.plan import make_plan
from launch.plan_text import plan_text
from launch.status import status_of
from tests.launch.support import write_sweep

GOLDEN = """
name: golden
overrides: [dataset=cifar100, network=resnet20, num_epochs=100, schedule.every_epochs=20]
seeds: [0, 1]
baseline: fixed
arms:
  fixed: [schedule=fixed, schedule.batch_size=128]
  adaptive: [schedule=adabatch, schedule.batch_size=128]
"""


@pytest.fixture
def plan(launch):
    write_sweep(launch.config_dir, "golden", GOLDEN)

    def make(*words: str):
        answer = launch("plan", "sweep=golden", "--format", "json", *words)
        assert answer.status == 0, answer.err
        return json.loads(answer.out)

    return make


def test_an_error_of_lint_is_an_exit_status(launch):
    write_sweep(launch.config_dir, "golden", GOLDEN)
    unequal = "sweep.arms.fixed=[schedule=fixed,schedule.batch_size=128,schedule.learning_rate_decay=0.5]"
    for form in ("text", "json"):
        answer = launch("plan", "sweep=golden", unequal, "--format", form)
        assert (answer.status, answer.err) == (1, "")
        assert "rate-differs" in answer.out
    assert launch("plan", "sweep=golden", unequal, "--allow", "rate-differs").status == 0
    assert launch("plan", "sweep=golden", unequal, "--allow", "no-baseline").status == 1
    assert launch("submit", "sweep=golden", unequal).status == 2
    # one-seed is a note
    answer = launch("plan", "sweep=golden", "sweep.seeds=[3]")
    assert (answer.status, "one-seed" in answer.out) == (0, True)


def test_golden_table(plan):
    arms = {arm["arm"]: arm for arm in plan()["arms"]}
    fixed, adaptive = arms["fixed"], arms["adaptive"]
    assert (adaptive["updates"], fixed["updates"]) == (15_080, 39_000)
    expected = [
        (1, 20, 128, 0.01, 390, 80),
        (21, 40, 256, 0.0075, 195, 80),
        (41, 60, 512, 0.005625, 97, 336),
        (61, 80, 1024, 0.00421875, 48, 848),
        (81, 100, 2048, 0.0031640625, 24, 848),
    ]
    for stage, (first, last, batch, rate, updates, dropped) in zip(adaptive["stages"], expected, strict=True):
        assert (stage["first_epoch"], stage["last_epoch"]) == (first, last)
        assert stage["batch_size"] == stage["micro_batch_size"] == [batch, batch]
        assert stage["learning_rate"] == pytest.approx([rate, rate], rel=1e-12)
        assert stage["rate_per_sample"] == pytest.approx([rate / batch] * 2, rel=1e-12)
        assert stage["updates_per_epoch"] == [updates, updates]
        assert stage["samples_dropped"] == [dropped, dropped]
    rates = [0.01, 0.00375, 0.00140625, 0.00052734375, 0.00019775390625]
    assert [stage["learning_rate"][0] for stage in fixed["stages"]] == pytest.approx(rates, rel=1e-12)
    # 20 epochs of each stage
    assert adaptive["samples_dropped"] == 20 * (80 + 80 + 336 + 848 + 848)
    assert fixed["samples"] == 100 * 49_920


def test_totals_count_every_run(plan):
    planned = plan()
    assert planned["num_runs"] == 4
    assert planned["updates"] == 2 * (15_080 + 39_000)
    assert planned["states"] == {"missing": 4}
    assert len(planned["runs"]) == 4


@pytest.mark.slow
def test_batches_are_split_over_ranks_and_micro_batches(plan):
    arms = {arm["arm"]: arm for arm in plan("max_micro_batch_size=128", "hardware.num_devices=4")["arms"]}
    # 2048 over 4 ranks: 512 each, in 4 micro-batches of 128
    last = arms["adaptive"]["stages"][-1]
    assert (last["micro_batch_size"], last["accumulation_steps"], last["world_size"]) == ([128, 128], [4, 4], 4)
    first = arms["adaptive"]["stages"][0]
    assert (first["micro_batch_size"], first["accumulation_steps"]) == ([32, 32], [1, 1])
    automatic = {arm["arm"]: arm for arm in plan("max_micro_batch_size=auto")["arms"]}
    assert automatic["adaptive"]["stages"][0]["micro_batch_size"] is None


def test_warm_up_is_one_stage(plan):
    words = ("schedule.warmup_epochs=5", "schedule.warmup_base_batch_size=64")
    stages = plan(*words)["arms"][0]["stages"]
    assert [(stage["first_epoch"], stage["last_epoch"]) for stage in stages[:2]] == [(1, 5), (6, 20)]
    # rises from 0.01 to 0.01 * 128 / 64, reached at the first update of epoch 6
    assert stages[0]["learning_rate"][0] < stages[0]["learning_rate"][1] < 0.02
    assert stages[1]["learning_rate"] == pytest.approx([0.02, 0.02], rel=1e-12)


def test_ramps_are_shown_in_blocks(plan):
    words = ["sweep.overrides=[dataset=cifar100, network=resnet20, num_epochs=100]"]
    words += ["sweep.arms.adaptive=[schedule=linear_ramp]", "sweep.arms.fixed=twin(adaptive)"]
    arms = {arm["arm"]: arm for arm in plan(*words)["arms"]}
    stages = arms["adaptive"]["stages"]
    assert [(stage["first_epoch"], stage["last_epoch"]) for stage in stages] == [(n, n + 9) for n in range(1, 101, 10)]
    assert stages[0]["batch_size"][0] < stages[0]["batch_size"][1] < stages[9]["batch_size"][1] <= 2048


def test_explicit_stages_are_planned_and_match_their_twin(plan):
    words = ["sweep.overrides=[dataset=cifar100, network=resnet20, num_epochs=100]"]
    explicit = "schedule=stages, 'schedule.batch_sizes=[64,128,512]', 'schedule.milestones=[20,50]'"
    words += [f"sweep.arms.adaptive=[{explicit}]", "sweep.arms.fixed=twin(adaptive)"]
    found = plan(*words)
    arms = {arm["arm"]: arm for arm in found["arms"]}
    stages = arms["adaptive"]["stages"]
    assert [(stage["first_epoch"], stage["last_epoch"]) for stage in stages] == [(1, 20), (21, 50), (51, 100)]
    assert [stage["batch_size"] for stage in stages] == [[64, 64], [128, 128], [512, 512]]
    # The learning rate stays, so the twin's 0.01 is divided by 2 after epoch 20, and by 4 after epoch 50.
    rates = [stage["learning_rate"][0] for stage in arms["fixed"]["stages"]]
    assert rates == pytest.approx([0.01, 0.005, 0.00125], rel=1e-12)
    assert {stage["batch_size"][0] for stage in arms["fixed"]["stages"]} == {64}
    assert not [finding for finding in found["findings"] if finding["level"] == "error"]


@pytest.mark.slow
def test_unfinished_estimate_and_finished_one(launch, plan):
    assert plan()["estimate"]["total_hours"] is None
    for arm, seconds in (("fixed", 7200), ("adaptive", 3600)):
        run_dir = RunDir(launch.runs_dir / "golden" / "cifar100-resnet20" / arm / "seed_0")
        run_dir.path.mkdir(parents=True)
        run_dir.summary.write_text(json.dumps({"state": "done", "wall_seconds": seconds}))
        mark_done(run_dir, "done")
    estimate = plan()["estimate"]
    # two seeds each: 2 * 2 h + 2 * 1 h, of which one seed each is done
    assert estimate == {"device": "CPU process", "total_hours": 6.0, "left_hours": 3.0, "finished_runs": 2}
    assert plan()["states"] == {"done": 2, "missing": 2}


@pytest.mark.slow
def test_text_keeps_every_number_when_piped(launch, plan):
    plan()
    out = launch("plan", "sweep=golden").out
    numbers = ("15,080 updates", "39,000 updates", "0.00019775391", "2,048 x 1 x 1")
    for text in (*numbers, "cifar100-resnet20", "4 missing"):
        assert text in out
    assert "…" not in out


@pytest.mark.slow
def test_grid_points_that_are_alike_are_shown_once(launch, plan):
    words = ("plan", "sweep=golden", "sweep.grid.optimizer.momentum=[0.1,0.2,0.3,0.4,0.5,0.9]")
    answer = launch(*words, "sweep.grid.optimizer.learning_rate=[0.01,0.1]")
    titles = [line for line in answer.out.splitlines() if " epochs on " in line]
    assert len(titles) == 4  # two arms, with two learning rates each
    assert titles[0].startswith("fixed: 12 runs of 100 epochs on cifar100-resnet20 at 6 grid points that are alike (")
    points = "; ".join(f"momentum=0.{number}, learning_rate=0.01" for number in range(1, 5))
    assert f"({points} and 2 more); each 39,000 updates" in titles[0]
    alone = launch("plan", "sweep=golden", "sweep.grid.optimizer.momentum=[0.1]").out
    assert "fixed,optimizer.momentum=0.1: 2 runs of 100 epochs on cifar100-resnet20; each 39,000 updates" in alone


@pytest.mark.parametrize("width", [80, 200])
def test_text_fits_a_terminal(launch, plan, width):
    plan()
    expansion = expand(load_sweep("paper_cifar100_4gpu", {}), [], launch.runs_dir)
    statuses = status_of([run.run_dir for run in expansion.runs], expansion.folder)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(plan_text(make_plan(expansion, statuses, lint(expansion)), []))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert any("16,384" in line and "4,096 x 1 x 4" in line and "3.05176e-06" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sweep=golden", "cluster=slrum"], "cluster is slrum; it must be one of"),
        (["sweep=golden", "schedule"], "schedule does not have the form key=value"),
        (["sweep", "golden"], "sweep golden does not have the form key=value; the call must be: .* plan sweep=golden "),
        (["golden"], "golden does not have the form key=value; the call must be: .* sweep=golden "),
        (["--sweep=golden"], "the call must be: .* sweep=golden "),
        (["sweep=golden", "--seed", "3"], "--seed 3 does not have .*; the call must be: .* sweep=golden seed=3 "),
        (["sweep=golden", "--alow", "rate-differs"], "unknown option --alow; expected key=value or one of .*--allow"),
        ([], "sweep is .*it must be one of"),
        (["sweep=golden", "num_epochs=0"], "num_epochs is 0"),
        (["sweep=golden", "--config-dir", "/nowhere"], "--config-dir is /nowhere"),
    ],
)
def test_wrong_calls_cost_a_sentence(launch, plan, words, sentence):
    plan()
    if "--config-dir" in words:
        assert main(["plan", *words]) == 2
        return
    answer = launch("plan", *words)
    assert answer.status == 2
    assert re.search(sentence, answer.err)
    assert "Traceback" not in answer.err


def test_who_forgets_the_folder_of_own_sweeps_is_told_of_it(capsys):
    assert main(["plan", "sweep=mine"]) == 2
    own = "With --config-dir DIR it can also be one of your own, DIR/sweep/NAME.yaml."
    assert own in " ".join(capsys.readouterr().err.split())


PATIENT = """
from adabatch import Decision, Schedule


class Patient(Schedule):
    \"\"\"Doubles the batch for good when a loss is under a level; looks at none in the first epochs.\"\"\"

    constant_within_epoch = True

    def __init__(self, batch_size, learning_rate, signal="train_loss", wait=1):
        self.size, self.rate, self.signal, self.wait = batch_size, learning_rate, signal, wait

    def decide(self, progress, signals=None):
        if progress.epoch > self.wait:
            value = getattr(signals, self.signal) if self.signal else None
            if value is not None and value < 0.7:
                self.size *= 2
        return Decision(self.size, self.rate)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "listens"),
    [("train_loss", True), ("validation_loss", True), ("validation_accuracy", True), ("''", False)],
)
def test_the_plan_of_a_schedule_that_listens_is_said_to_show_its_start(launch, monkeypatch, argument, listens):
    (launch.config_dir / "patient.py").write_text(PATIENT)
    monkeypatch.chdir(launch.config_dir)
    monkeypatch.delitem(sys.modules, "patient", raising=False)
    words = f'["schedule=patient:Patient", schedule.batch_size=32, "schedule.args.signal={argument}"]'
    text = f"""
name: heard
overrides: [dataset=digits, network=tiny_cnn, num_epochs=5]
baseline: fixed
arms:
  fixed: [schedule=fixed, schedule.batch_size=32, schedule.every_epochs=null, 'schedule.milestones=[9]']
  patient: {words}
"""
    write_sweep(launch.config_dir, "heard", text)
    answer = launch("plan", "sweep=heard")
    assert answer.status == 0, answer.err
    assert answer.out.count("listens to signals") == listens
    arms = json.loads(launch("plan", "sweep=heard", "--format", "json").out)["arms"]
    assert {arm["arm"]: arm["listens_to_signals"] for arm in arms} == {"fixed": False, "patient": listens}
    assert [stage["batch_size"] for stage in arms[1]["stages"]] == [[32, 32]]


@pytest.mark.parametrize(
    ("fixed", "adaptive", "words"),
    [
        (
            "schedule.batch_size=1024",
            "schedule.batch_size=2048, schedule.max_batch_size=10000",
            {"10,000 instead of growing to 16,384", "fixed batch of 10,000", "fixed batch of 2,048"},
        ),
        (
            "schedule.batch_size=1025",
            "schedule.batch_size=1025, max_micro_batch_size=1000, hardware.device=cuda, hardware.num_devices=2",
            {"Batches of 1,025 do not divide evenly over 2 ranks"},
        ),
        (
            "schedule.batch_size=1024",
            "schedule.batch_size=1024",
            {"The batch grows from 1,024 to 16,384, but the micro-batch stays at 1,024 (max_micro_batch_size=1024)"},
        ),
    ],
)
def test_thousands_are_separated_but_in_values_of_keys(launch, fixed, adaptive, words):
    arms = f"{{fixed: [schedule=fixed, {fixed}], adaptive: [schedule=adabatch, {adaptive}]}}"
    sweep = GOLDEN.partition("arms:")[0].replace("resnet20,", "resnet20, max_micro_batch_size=1024,")
    write_sweep(launch.config_dir, "golden", f"{sweep}arms: {arms}\n")
    text = " ".join(launch("plan", "sweep=golden").out.split())
    assert {word for word in words if word in text} == words
    assert re.findall(r"(?<![\w.,=])(?<! is )\d{4,}", text) == []
