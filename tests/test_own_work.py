"""Networks, optimizers, schedules and trackers outside of adabatch, used by every command without an edit of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import analysis
from adabatch.rundir.files import RunDir
from adabatch.tools.verify_resume import main as verify_resume
from tests.adabatch.support import assert_equal_bits, read_rows
from tests.warm_python import warm_python

pytestmark = pytest.mark.slow

OWN_WORK = Path(__file__).parent / "own_work"
SMALL = ("dataset=digits", "num_epochs=3", "hardware.num_threads=1", "run_dir=run")
SWEEP = """
name: mine
overrides: [dataset=digits, num_epochs=4, "network=my_nets:Net", hardware.num_threads=1, "tracker=my_tracker:Lines"]
grid: {network.args.width: [8, 16]}
seeds: [0, 1]
baseline: small
target: 0.5
arms:
  growing: ["schedule=my_schedules:Doubling", schedule.batch_size=16]
  small: [schedule=fixed, schedule.batch_size=16, schedule.learning_rate_decay=0.5, schedule.every_epochs=2]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's working folder."""
    return make_folder(tmp_path / "mine")


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder in which the sweep was submitted and has ended; tests leave it as it is."""
    place = make_folder(tmp_path_factory.mktemp("trained") / "mine")
    submitted = call(place, "launch", "submit", "sweep=mine", "cluster=local", "--config-dir", "conf")
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    return place


def make_folder(place: Path) -> Path:
    shutil.copytree(OWN_WORK, place)
    (place / "conf" / "sweep").mkdir(parents=True)
    (place / "conf" / "sweep" / "mine.yaml").write_text(SWEEP)
    return place


def call(folder: Path, module: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m MODULE WORDS`` in a folder as a user would."""
    return subprocess.run(
        [warm_python(), "-m", module, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


def train(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return call(folder, "adabatch", *SMALL, *words)


def meta_of(run: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((run / "meta.json").read_text())
    return meta


def test_a_run_of_ones_own_work_is_like_any_other(folder: Path) -> None:
    answer = train(
        folder, "network=my_nets:Net", "network.args.width=5", "optimizer=my_optimizers:Lion",
        "optimizer.args.betas=[0.8,0.95]", "optimizer.learning_rate=0.001", "optimizer.weight_decay=0.1",
        "schedule=my_schedules:Doubling", "schedule.batch_size=16", "schedule.args.every=1",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    rows = read_rows(RunDir(folder / "run"))
    assert [(row["batch_size"], row["updates"]) for row in rows] == [("16", "90"), ("32", "135"), ("64", "158")]
    meta = meta_of(folder / "run")
    # 64 pixels to 5 units to 10 classes, with biases
    assert meta["num_parameters"] == (64 + 1) * 5 + (5 + 1) * 10
    assert {kind: code["files"] for kind, code in meta["own_code"].items()} == {
        "network": ["my_nets.py"], "optimizer": ["my_optimizers.py"], "schedule": ["my_schedules.py"],
    }  # fmt: skip
    assert meta["network_code"] == meta["own_code"]["network"]["identity"]
    group = torch.load(folder / "run" / "checkpoint.pt", weights_only=True)["state"]["learner"]["optimizer"]
    assert group["param_groups"][0]["betas"] == (0.8, 0.95)
    assert group["param_groups"][0]["weight_decay"] == 0.1
    assert "already finished" in train(
        folder, "network=my_nets:Net", "network.args.width=5", "optimizer=my_optimizers:Lion",
        "optimizer.args.betas=[0.8,0.95]", "optimizer.learning_rate=0.001", "optimizer.weight_decay=0.1",
        "schedule=my_schedules:Doubling", "schedule.batch_size=16", "schedule.args.every=1",
    ).stdout  # fmt: skip


def test_a_metric_of_ones_own_is_a_column(folder: Path) -> None:
    answer = train(
        folder, "dataset=my_data:Stripes", "dataset.args.noise=1.5", "network=my_nets:Net", "schedule.batch_size=16",
        "metrics.recall=my_metrics:Recall",
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    stored = np.load(folder / "run" / "test_correct.npy")
    correct = np.unpackbits(stored[1:])[: 8 * (len(stored) - 1) - stored[0]]
    # The class of sample i is i % 4, so column c holds the samples of class c.
    smallest = correct.reshape(20, 4).mean(axis=0).min()
    assert 0 < smallest < 1
    assert float(read_rows(RunDir(folder / "run"))[-1]["recall"]) == pytest.approx(smallest)
    loaded = analysis.load(folder / "run")
    assert loaded.runs.final_recall.item() == pytest.approx(smallest)
    meta = meta_of(folder / "run")
    assert meta["own_code"].keys() == {"network", "dataset", "metrics.recall"}
    assert meta["dataset_code"] == meta["own_code"]["dataset"]["identity"]


def test_five_kinds_of_ones_own_train_on_two_ranks_as_on_one(folder: Path) -> None:
    words = [
        "dataset=my_data:Stripes", "network=my_nets:Net", "optimizer=my_optimizers:Lion",
        "schedule=my_schedules:Doubling", "schedule.batch_size=14", "schedule.args.every=1",
        "optimizer.learning_rate=0.01", "hardware.precision=fp64", "metrics.recall=my_metrics:Recall",
    ]  # fmt: skip
    for ranks in (1, 2):
        answer = train(folder, *words, f"hardware.num_devices={ranks}", f"run_dir={ranks}")
        assert answer.returncode == 0, answer.stderr
    alone, spread = (read_rows(RunDir(folder / name)) for name in ("1", "2"))
    # 240 samples in updates of 14, of 28 and of 56: 17 and one of 2, 8 and one of 16, 4 and one of 16.
    assert [(row["world_size"], row["updates"]) for row in spread] == [("2", "18"), ("2", "27"), ("2", "32")]
    for one, other in zip(alone, spread, strict=True):
        for column in ("batch_size", "updates", "learning_rate", "test_accuracy", "recall"):
            assert one[column] == other[column]
        assert float(one["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-9)
    assert meta_of(folder / "1")["own_code"] == meta_of(folder / "2")["own_code"]
    assert len(meta_of(folder / "2")["own_code"]) == 5


def test_a_yaml_of_ones_own_names_it_too(folder: Path) -> None:
    (folder / "conf" / "network").mkdir()
    (folder / "conf" / "network" / "wide.yaml").write_text("path: my_nets:Net\nargs: {width: 32}\n")
    answer = train(folder, "network=wide", "network.args.dropout=0.5", "--config-dir", "conf")
    assert answer.returncode == 0, answer.stderr
    assert meta_of(folder / "run")["num_parameters"] == (64 + 1) * 32 + (32 + 1) * 10
    assert "dropout: 0.5" in (folder / "run" / "config.yaml").read_text()


def test_optimizers_of_torch_are_named_by_their_path(folder: Path) -> None:
    answer = train(folder, "network=tiny_cnn", "optimizer=torch.optim:Adam", "optimizer.args.eps=1e-6")
    assert answer.returncode == 0, answer.stderr
    optimizer = torch.load(folder / "run" / "checkpoint.pt", weights_only=True)["state"]["learner"]["optimizer"]
    assert optimizer["param_groups"][0]["eps"] == 1e-6
    assert meta_of(folder / "run")["optimizer_code"] == f"torch=={torch.__version__.partition('+')[0]}"


def test_models_of_torchvision_take_any_number_of_channels(folder: Path) -> None:
    answer = train(
        folder, "network=torchvision:squeezenet1_1", "num_epochs=1", "dataset=synthetic",
        *(f"dataset.{key}={value}" for key, value in {
            "num_train_samples": 16, "num_test_samples": 8, "image_size": 32, "num_channels": 2, "num_classes": 3,
        }.items()),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    # 722,496 in the feature layers at 3 channels (see torchvision), 64 filters of 3 x 3 with one channel less,
    # and a classifier of 512 x 3 + 3
    assert meta_of(folder / "run")["num_parameters"] == 722_496 - 64 * 9 + 512 * 3 + 3


def test_installed_packages_register_names(folder: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "their_package-1.0.dist-info").mkdir(parents=True)
    (site / "their_package-1.0.dist-info" / "METADATA").write_text("Name: their-package\nVersion: 1.0\n")
    (site / "their_package-1.0.dist-info" / "entry_points.txt").write_text(
        "[adabatch.plugins]\nnetwork.their_net = their_nets:Net\nanything = their_nets\n"
    )
    shutil.copy(OWN_WORK / "my_nets.py", site / "their_nets.py")
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    for name, parameters in {"their_net": 65 * 16 + 17 * 10, "my_linear": 65 * 10}.items():
        answer = call(folder, "adabatch", *SMALL, f"network={name}", f"run_dir={name}", PYTHONPATH=path)
        assert answer.returncode == 0, answer.stderr
        assert meta_of(folder / name)["num_parameters"] == parameters


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["network=nowhere:Net"], r"network\.path is nowhere:Net; there is no module nowhere in .*mine"),
        (["network=my_nets:Nett"], r"my_nets\.py has nothing named Nett\. Did you mean Net\?"),
        (["network=my_nets:unmarked"], r"which is a function; it must be .*@adabatch\.register_network"),
        (["network=my_optimizers:Lion"], r"which is the class my_optimizers\.Lion; it must be a subclass of torch"),
        (["network=os:system"], r"which is a builtin_function_or_method; it must be"),
        (["network=my_nets:Net", "network.args.widht=3"], r"unknown key network\.args\.widht; .* Did you mean width\?"),
        (["network=my_nets:Net", "network.args.width=wide"], r"network\.args\.width is wide; it must be int"),
        (["network.args.width=3"], r"network\.args is .*; it must be left out unless network\.path is given"),
        (["network=by_path"], r"network\.path is null; it must be an import path"),
        (["network=a:b:c"], r"network\.path is a:b:c; it must be an import path of the form module:attribute"),
        (["network=torchvision:resnt18"], r"torchvision\.resnt18; .* Did you mean torchvision\.resnet18\?"),
        (["network=adabatch.networks.resnet:ResNet"], r"adabatch's own parts are chosen by their names"),
        (["optimizer=torch.optim:LBFGS"], r"whose step needs a closure; it must be one that steps without arguments"),
        (["optimizer=torch.optim:SparseAdam"], r"needs sparse gradients"),
        (["optimizer=torch.optim:Adam", "optimizer.momentum=0.9"], r"momentum is 0\.9, but torch\.optim:Adam"),
        (["schedule=my_schedules:Doubling", "schedule.warmup_epochs=3"], r"warmup_epochs is 3; it must be 0"),
        (["network=broken:NoLogits"], r"for 2 samples of shape \(1, 8, 8\) it returns shape \(2, 3\)"),
        (["network=broken:Raises"], r"whose call raised ValueError: odd depth\.\n .*broken\.py, line \d+, in __init__"),
        (["schedule=broken:Pair"], r"whose decide returned a tuple; it must return an adabatch\.Decision"),
        (["network=my_nets.py:Net"], r"there is no module my_nets\.py .* Leave out \.py"),
        (["optimizer=RMSprop"], r"optimizer is RMSprop; it must be one of adamw, sgd, or your own: module:Name"),
        (["schedule=broken:Nothing"], r"decides batch_size=0 in epoch 1; it must be a whole number of at least 1"),
        (["tracker=my_nets:Net"], r"which is the class my_nets\.Net; it must be a subclass of adabatch\.\S*Tracker"),
        (["tracker=my_tracker:Lines", "tracker.args.fil=a"], r"unknown key tracker\.args\.fil; .* Did you mean file\?"),
        (["tracker=my_tracker:Lines", "tracker.args.file=3"], r"tracker\.args\.file is 3; it must be str"),
        (["tracker.tags=['']"], r"tracker\.tags is \[''\]; it must be a list of words of 1 to 64 characters"),
        (["tracker.kind=aim"], r"tracker\.kind is aim; it must be one of none, wandb, tensorboard"),
        (["metrics.x=my_nets:Net"], r"metrics\.x is my_nets:Net; it must be a class with the methods update, compute"),
        (["metrics.epoch=my_metrics:Recall"], r"metrics\.epoch is given; a metric's name must .* be no column"),
        (["dataset=my_nets:Net"], r"dataset\.path is my_nets:Net, which is the class my_nets\.Net; it must be"),
        (["network=unimportable:Net"], r"whose import raised ZeroDivisionError.*\n .*unimportable\.py, line 1"),
    ],
)  # fmt: skip
def test_a_mistake_costs_a_sentence(folder: Path, words: list[str], sentence: str) -> None:
    (folder / "unimportable.py").write_text("x = 1 / 0\n")
    (folder / "broken.py").write_text(BROKEN)
    answer = train(folder, *words)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert re.search(sentence, answer.stderr), answer.stderr


BROKEN = """
from torch import nn
import adabatch

class Raises(nn.Module):
    def __init__(self, num_classes: int) -> None:
        raise ValueError("odd depth")

class NoLogits(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 3))

class Late(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 10))
        self.calls = 0

    def forward(self, images):
        self.calls += 1
        if self.calls > 20:
            raise KeyError("my own mistake")
        return super().forward(images)

class Pair(adabatch.Schedule):
    constant_within_epoch = True

    def decide(self, progress, signals=None):
        return 8, 0.1

class Nothing(adabatch.Schedule):
    constant_within_epoch = True

    def decide(self, progress, signals=None):
        return adabatch.Decision(0, 0.1)
"""


STALE = """
import torch


class Stale(torch.utils.data.Dataset):
    targets = [index % 2 for index in range(300)]

    def __init__(self, train):
        pass

    def __len__(self):
        return 300

    def __getitem__(self, index):
        if index == 77:
            raise FileNotFoundError("the share is gone")
        return torch.rand(1, 8, 8), index % 2
"""


def test_a_failure_in_ones_own_data_is_told_like_one_in_a_network(folder: Path) -> None:
    (folder / "stale.py").write_text(STALE)
    words = ["dataset=stale:Stale", "dataset.num_workers=0", "network=tiny_cnn", "num_epochs=1", "run_dir=run"]
    answer = call(folder, "adabatch", *words)
    assert answer.returncode == 1, answer.stderr
    sentence = r"item 77 raised FileNotFoundError: the share is gone\.\n .*stale\.py, line \d+, in __getitem__: raise"
    assert re.search(f"OwnCodeError: .*{sentence}", answer.stderr)
    assert "Traceback" not in answer.stderr
    assert json.loads((folder / "run" / "summary.json").read_text())["cause"].startswith("OwnCodeError: stale:Stale")


def test_a_failure_in_ones_own_code_shows_its_lines_and_is_recorded_as_that(folder: Path) -> None:
    (folder / "broken.py").write_text(BROKEN)
    answer = train(folder, "network=broken:Late")
    assert answer.returncode == 1
    assert re.search(r"KeyError: .*own mistake.* \(your own code: .*broken\.py, line \d+\)", answer.stderr)
    assert re.search(r"\n .*broken\.py, line \d+, in forward: raise KeyError", answer.stderr)
    assert "Traceback" not in answer.stderr
    assert json.loads((folder / "run" / "summary.json").read_text())["cause"].startswith("OwnCodeError")


def test_a_killed_run_of_ones_own_work_resumes_bit_by_bit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    words = ["network=my_nets:Net", "network.args.dropout=0.5", "optimizer=my_optimizers:Lion"]
    words += ["schedule=my_schedules:Doubling", "schedule.batch_size=16", "metrics.recall=my_metrics:Recall"]
    assert verify_resume([*SMALL[:3], *words, "optimizer.learning_rate=0.001", "--kills", "2"]) == 0


def test_a_run_is_not_continued_with_other_code(folder: Path) -> None:
    assert train(folder, "network=my_nets:Net").returncode == 0
    (folder / "run" / "DONE").unlink()
    before = meta_of(folder / "run")["network_code"]
    with open(folder / "my_nets.py", "a") as file:
        file.write("# edited\n")
    answer = call(folder, "adabatch.resume", "run")
    assert answer.returncode == 2
    assert re.search(rf"trained with the network code {before}, and the code found now is sha256:\w+\.", answer.stderr)


def test_a_run_goes_on_with_an_edited_tracker(folder: Path) -> None:
    words = ["network=tiny_cnn", "num_epochs=1", "tracker=my_tracker:Lines"]
    assert train(folder, *words).returncode == 0
    meta = meta_of(folder / "run")
    assert meta["own_code"]["tracker"]["files"] == ["my_tracker.py"]
    assert "tracker_code" not in meta  # it is no part of matching
    (folder / "run" / "DONE").unlink()
    with open(folder / "my_tracker.py", "a") as file:
        file.write("# edited\n")
    # The saved arguments count: a tracker changes nothing in a run.
    answer = train(folder, *words, "tracker.args.file=other.jsonl")
    assert answer.returncode == 0, answer.stderr
    lines = [json.loads(line) for line in (folder / "run" / "lines.jsonl").read_text().splitlines()]
    # 1437 samples in batches of 128
    assert [line for line in lines if line[0] in ("start", "finish")] == [
        ["start", 1, 0], ["finish", "done", 0], ["start", 2, 12], ["finish", "done", 0],
    ]  # fmt: skip


@pytest.mark.long
@pytest.mark.xdist_group("own sweep")
def test_a_sweep_trains_what_was_submitted_and_tables_compare_it(trained_folder: Path) -> None:
    folder = trained_folder
    plan = call(folder, "launch", "plan", "sweep=mine", "--config-dir", "conf")
    assert plan.returncode == 0, plan.stderr
    copies = [sorted(path.name for path in copy.iterdir()) for copy in (folder / "runs/mine/.launch/code").iterdir()]
    assert ["my_nets.py", "my_schedules.py", "my_tracker.py"] in copies  # the other is adabatch's
    tables = call(folder, "analysis", "tables", "runs/mine", "--format", "json")
    assert tables.returncode == 0, tables.stderr
    content = json.loads(tables.stdout)
    assert content["refused"] == []
    verdicts = {row["group"] for row in content["numbers"] if row["quantity"] == "total_verdict"}
    assert verdicts == {f"digits-my_nets.Net network.args.width={width}" for width in (8, 16)}
    (lines,) = (folder / "runs" / "mine").glob("*/growing,*width=8/seed_1/lines.jsonl")
    assert json.loads(lines.read_text().splitlines()[0])[1] == str(lines.parent.relative_to(folder / "runs" / "mine"))


def test_a_run_directory_brings_no_code_with_it(folder: Path) -> None:
    assert train(folder, "network=my_nets:Net").returncode == 0
    (folder / "run" / "DONE").unlink()
    (folder / "my_nets.py").rename(folder / "run" / "my_nets.py")
    inside = call(folder / "run", "adabatch.resume", ".")
    assert inside.returncode == 2
    assert "lies in a folder of runs, which never brings code with it" in inside.stderr
    outside = call(folder, "adabatch.resume", "run")
    assert outside.returncode == 2
    assert "there is no module my_nets" in outside.stderr


def test_runs_with_other_code_are_not_compared(folder: Path) -> None:
    for arm, words in {"a": ["schedule=fixed"], "b": ["schedule=adabatch", "schedule.every_epochs=1"]}.items():
        run = call(folder, "adabatch", *SMALL, "network=my_nets:Net", f"run_dir=runs/{arm}", *words)
        assert run.returncode == 0, run.stderr
        with open(folder / "my_nets.py", "a") as file:
            file.write("# edited\n")
    tables = call(folder, "analysis", "tables", "runs", "--format", "json")
    assert tables.returncode == 1
    assert "network_code" in [row["key"] for row in json.loads(tables.stdout)["refused"]]


@pytest.mark.long
@pytest.mark.xdist_group("own sweep")
def test_analysis_imports_no_code_of_the_users(trained_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(trained_folder, folder)
    for name in ("my_nets.py", "my_schedules.py", "my_tracker.py"):
        (folder / name).write_text("raise SystemExit('imported')\n")
    for words in (["analysis", "tables", "runs/mine"], ["launch", "status", "runs/mine"]):
        answer = call(folder, *words)
        assert answer.returncode == 0, answer.stderr
        assert "imported" not in answer.stdout + answer.stderr


def test_ones_own_network_equals_the_same_one_under_a_name(folder: Path) -> None:
    (folder / "copied.py").write_text(
        "from adabatch.networks.tiny_cnn import TinyCNN\n\n\nclass Copy(TinyCNN):\n    pass\n"
    )
    for name, network in {"by_name": "tiny_cnn", "by_path": "copied:Copy"}.items():
        assert call(folder, "adabatch", *SMALL, f"network={network}", f"run_dir={name}").returncode == 0
    assert_equal_bits(RunDir(folder / "by_name"), RunDir(folder / "by_path"))
