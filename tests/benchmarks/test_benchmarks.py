"""That the benchmarks run and write what their tables read; never how long something took."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

import analysis
import benchmarks.training_speed
from adabatch.networks import build_network
from benchmarks.__main__ import main
from benchmarks.images import IMAGE_SIZE, NUM_CHANNELS, NUM_CLASSES, load_images
from benchmarks.machine import OthersLoad, own_seconds
from benchmarks.made_up_sweep import write_runs, write_sweep_option
from benchmarks.measure import BenchmarkFailed, alternate, paired_ratios, run_child, spread_text
from benchmarks.reference_loop import ReferenceLoop

TINY_CASE = ("--cases", "alexnet:8", "--samples", "16", "--workers", "0", "--random-pixels", "--wait", "0")


@pytest.fixture(autouse=True)
def threads_sleep_while_they_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run side by side; a thread that spins until its sister has a core would slow both."""
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")


def test_arms_take_turns():
    turns = iter(range(4))
    assert alternate({name: lambda: next(turns) for name in "ab"}, 2) == {"a": [0, 2], "b": [1, 3]}


def test_ratios_and_spreads():
    assert paired_ratios([4.0, 9.0], [2.0, 3.0]) == [2.0, 3.0]
    assert spread_text([0.5, 0.25, 1.0], ".0f", 100) == "50 (25-100)"
    assert spread_text([0.5]) == "0.50"


@pytest.mark.slow
def test_children_are_not_others():
    others, before = OthersLoad(), own_seconds()
    busy = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        while_it_lives = own_seconds() - before
        child.communicate(b"\n")
    assert while_it_lives >= 0.4
    assert own_seconds() - before >= 0.4
    cores = others.mean_cores()
    assert cores is None or cores >= 0


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("reference_loop", "adabatch.training.worker"),
        ("gpu_reference", "adabatch.training.worker"),
        ("__main__", "torch"),
    ],
)
@pytest.mark.slow
def test_no_module_is_imported_that_would_change_what_is_measured(module: str, unwanted: str):
    """The reference must not run in a process set up as ours; torch would add to the peak memory of the children."""
    script = f"import sys, benchmarks.{module}; print('{unwanted}' in sys.modules)"
    assert run_child(["-c", script]).output == "False\n"


@pytest.mark.slow
def test_child_has_its_own_cost():
    child = run_child(["-c", "print(len(bytearray(200 << 20)))"])
    assert child.output == f"{200 << 20}\n"
    assert child.peak_bytes > 200 << 20
    with pytest.raises(BenchmarkFailed, match=r"exit status 1:\n.*no such thing"):
        run_child(["-c", "import sys; sys.exit('no such thing')"])


def reference(num_samples: int, batch_size: int, accumulation_steps: int) -> tuple[torch.nn.Module, ReferenceLoop]:
    torch.manual_seed(1)
    network = build_network("alexnet", NUM_CHANNELS, NUM_CLASSES, IMAGE_SIZE)
    images = load_images(num_samples, fashion_mnist=False)
    return network, ReferenceLoop(network, images, batch_size, accumulation_steps, 0, torch.device("cpu"))


@pytest.mark.slow
def test_reference_loop_counts_whole_batches():
    _, loop = reference(num_samples=20, batch_size=8, accumulation_steps=1)
    times = loop.train_epoch()
    assert times.num_samples == 16
    assert 0 < times.forward_seconds + times.backward_seconds < times.seconds
    assert times.mean_loss == pytest.approx(2.3, abs=0.3)
    assert 0 <= times.top1_accuracy <= times.top5_accuracy <= 1


@pytest.mark.slow
def test_reference_loop_accumulates_to_the_same_update():
    torch.set_num_threads(1)
    weights = []
    for batch_size, accumulation_steps in ((8, 1), (4, 2)):
        network, loop = reference(8, batch_size, accumulation_steps)
        torch.manual_seed(2)
        loop.train_epoch()
        weights.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=1e-5)


@pytest.mark.slow
def test_made_up_runs_are_read_as_done(tmp_path: Path):
    num_runs = write_sweep_option(tmp_path / "conf", num_runs=21, num_epochs=3)
    assert num_runs == 40
    data = analysis.load(write_runs(tmp_path / "conf", tmp_path / "runs"))
    assert list(data.runs.state.unique()) == ["done"]
    assert len(data.runs) == 40
    assert len(data.epochs) == 120


def test_training_speed_takes_turns_and_compares_within_a_round(monkeypatch: pytest.MonkeyPatch):
    turns: list[str] = []

    def measure(module: str, order: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
        turns.append(f"{module} {order['precision']}")
        seconds = {"reference_loop": 8.0, "our_trainer": 2.0, "bare_steps": 1.0}[module]
        if len(turns) > 3:  # in the second round all are slow, and the reference slower still
            seconds *= 60.0 if module == "reference_loop" else 10.0
        facts = dict.fromkeys(
            ("data", "device_model", "num_threads", "micro_batch_size", "micro_batch_reason", "span_seconds"), ""
        )
        rates = {"flops_per_sample": 3.0, "matmul_flops_per_second": 100.0}
        return {**facts, **rates, "seconds": seconds, "others_cores": 0.5 * (len(turns) > 3)}

    monkeypatch.setattr(benchmarks.training_speed, "measure_in_child", measure)
    case = {"network": "alexnet", "batch_size": 8, "num_samples": 16, "device": "cpu"}
    result = benchmarks.training_speed._measure_case({**case, "precisions": ["fp32"], "repetitions": 2})
    assert turns == ["reference_loop None", "our_trainer fp32", "bare_steps fp32"] * 2
    [table] = benchmarks.training_speed.tables({"cases": [result]})
    [row] = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    # 8 s against 2 s, then 480 s against 20 s
    assert row["ours / reference"] == "14.00 (4.00-24.00)"
    assert row["ours / bare"] == "50 (50-50) %"
    # medians of 8 and 0.8 samples/s, of 3 operations each, are 13.2 operations per second
    assert row["ours / matmul"] == "13 %"
    assert row["others, cores"] == "0.2 (0.0-0.5)"


@pytest.mark.slow
@pytest.mark.bench
def test_training_speed_writes_what_its_table_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "new" / "speed.json"
    assert main(["training_speed", *TINY_CASE, "--repetitions", "1", "--micro-batch", "6", "-o", str(output)]) == 0
    assert "ours / reference" in capsys.readouterr().out
    results = json.loads(output.read_text())
    assert {"command", "cpu_model", "num_cores", "torch", "git_sha", "load_average"} <= results["machine"].keys()
    (case,) = results["benchmarks"]["training_speed"]["cases"]
    assert (case["data"], case["num_samples"]) == ("random pixels", 16)
    assert len(case["reference"]["seconds"]) == len(case["reference"]["epochs"]) == 1
    assert list(case["precision"]) == ["fp32", "bf16"]
    for arm in case["precision"].values():
        assert (arm["micro_batch_size"], len(arm["seconds"]), len(arm["bare_seconds"])) == (4, 1, 1)

    assert main(["--show", str(output), "--format", "markdown"]) == 0
    page = capsys.readouterr().out
    assert page.startswith("## Machine\n")
    assert "| alexnet | 8 | cpu | bf16 | 4 |" in page


@pytest.mark.slow
@pytest.mark.bench
def test_small_costs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "costs.json"
    assert main(["small_costs", "--quick", "-o", str(output)]) == 0
    costs = json.loads(output.read_text())["benchmarks"]["small_costs"]
    assert costs["sweep"]["num_runs"] == 40
    assert {"plan, nothing trained", "analysis.load", "tables"} <= costs["sweep"]["commands"].keys()
    assert costs["saving"]["demo"]["save_seconds"] > 0
    assert len(costs["start"]["first_update_seconds"]) == 1
    assert "peak memory" in capsys.readouterr().out


@pytest.mark.slow
def test_submission(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "costs.json"
    assert main(["submission", "--quick", "-o", str(output)]) == 0
    costs = json.loads(output.read_text())["benchmarks"]["submission"]
    assert costs["num_runs"] == 40
    assert list(costs["commands"]) == ["plan", "submit", "status, all pending", "status, mixed"]
    assert all(cost["cpu_seconds"] > 0 for cost in costs["commands"].values())
    assert "A sweep of 40 runs on SLURM" in capsys.readouterr().out


@pytest.mark.slow
def test_loading(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "loading.json"
    assert main(["loading", "--quick", "-o", str(output)]) == 0
    loading = json.loads(output.read_text())["benchmarks"]["loading"]
    assert (loading["num_runs"], loading["num_epochs"]) == (120, 5)
    assert {name: len(costs) for name, costs in loading["steps"].items()} == {
        "first load": 1,
        "second load": 1,
        "second load, compare": 1,
    }
    assert "peak memory" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.bench
def test_the_dashboard(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    if shutil.which("chromium") is None and not os.environ.get("CI"):
        pytest.skip("chromium shows the page; install it to run this test")
    output = tmp_path / "dashboard.json"
    assert main(["dashboard", "--quick", "-o", str(output)]) == 0
    [one] = json.loads(output.read_text())["benchmarks"]["dashboard"]["rounds"]
    assert 0 < one["first_rows_seconds"] <= one["tables_seconds"]
    assert one["refresh_seconds"]
    assert one["peak_bytes"] > 0
    assert "peak memory" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.bench
def test_packing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "packing.json"
    assert main(["packing", "--quick", "-o", str(output)]) == 0
    packing = json.loads(output.read_text())["benchmarks"]["packing"]
    assert packing["num_runs"] == 2
    assert [len(seconds) for seconds in packing["seconds"].values()] == [1, 1, 1]
    assert "runs per hour" in capsys.readouterr().out


@pytest.mark.slow
def test_failure_is_told_and_makes_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "speed.json"
    words = ["training_speed", *TINY_CASE, "--micro-batch", "0", "--repetitions", "1", "-o", str(output)]
    assert main(words) == 1
    failures = json.loads(output.read_text())["failures"]
    assert "max_micro_batch_size is 0" in failures["alexnet with batch 8 on cpu"]
    with pytest.raises(SystemExit, match="2"):
        main(["nothing"])
    assert "nothing is no benchmark" in capsys.readouterr().err
