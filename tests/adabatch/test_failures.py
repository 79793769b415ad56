"""A run that cannot go on says why: in FAILED, in summary.json and by its exit status."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from adabatch.errors import ConfigError
from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import describe_failure
from tests.adabatch.support import TINY, adabatch_command, read_rows, read_summary, run_command

pytestmark = pytest.mark.slow

DIVERGING = ("optimizer.learning_rate=1e30", "schedule=fixed", "optimizer.weight_decay=0.5")


def test_a_loss_that_is_no_number_ends_the_run_and_is_no_row(train):
    run_dir = train(*DIVERGING, status=1)
    cause, _, rest = run_dir.failed.read_text().partition("\n\n")
    assert cause.startswith("NonFiniteLoss: the training loss became NaN or infinite in epoch 1")
    assert "Traceback" in rest
    summary = read_summary(run_dir)
    assert (summary["state"], summary["epochs"], summary["test_accuracy"]) == ("failed", 0, None)
    assert summary["cause"] == cause
    assert not run_dir.done.exists()
    assert read_rows(run_dir) == []


def test_an_end_that_only_the_test_shows_to_have_diverged_is_a_failure_too(train):
    words = ("num_epochs=1", "schedule=fixed", "schedule.batch_size=60", "optimizer.learning_rate=1e38")
    run_dir = train(*words, status=1)
    assert run_dir.failed.read_text().startswith("NonFiniteLoss: the test loss became NaN or infinite in epoch 1")
    assert read_rows(run_dir) == []


def test_a_diverging_rank_gives_its_cause_to_the_run(train):
    run_dir = train(*DIVERGING, "hardware.num_devices=2", status=1)
    assert run_dir.failed.read_text().startswith("NonFiniteLoss: ")


def test_finished_epochs_stay_readable_and_a_repaired_run_goes_on(train, monkeypatch):
    """The disk is full while the third epoch's row is written; with room again the same command finishes."""
    from adabatch.training import reporting

    write = reporting.write_epochs_csv

    def refuse_third(path, rows, own):
        if len(rows) == 3:
            raise OSError(28, "No space left on device", str(path))
        write(path, rows, own)

    monkeypatch.setattr(reporting, "write_epochs_csv", refuse_third)
    run_dir = train("checkpoint.every_epochs=1", status=1)
    assert run_dir.failed.read_text().startswith("DiskFull: ")
    assert [row["epoch"] for row in read_rows(run_dir)] == ["1", "2"]
    monkeypatch.setattr(reporting, "write_epochs_csv", write)
    train("checkpoint.every_epochs=1")
    assert [row["epoch"] for row in read_rows(run_dir)] == ["1", "2", "3"]
    assert run_dir.done.exists()
    assert not run_dir.failed.exists()


def test_a_real_limit_of_the_file_system(tmp_path):
    """Files of at most 8 kB: rows fit, the checkpoint does not."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    answer = subprocess.run(
        adabatch_command(*TINY, "run_dir=run"), cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True
    )
    assert answer.returncode == 1
    run_dir = RunDir(tmp_path / "run")
    assert run_dir.failed.read_text().startswith("DiskFull: ")
    assert len(read_rows(run_dir)) == 3
    assert not run_dir.checkpoint.exists()


def test_a_missing_data_set_is_a_sentence_and_a_recorded_cause(tmp_path):
    answer = run_command("dataset=cifar10", "dataset.root=nowhere", "run_dir=run", cwd=tmp_path)
    assert answer.returncode == 2
    assert "Traceback" not in answer.stderr
    assert answer.stderr.startswith("dataset cifar10 was not found in nowhere")
    assert "dataset.download=true" in answer.stderr
    assert RunDir(tmp_path / "run").failed.read_text().startswith("ConfigError: ")


def test_a_gpu_that_is_not_there(tmp_path):
    answer = run_command(*TINY, "hardware=gpu", "run_dir=run", cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert answer.returncode == 2
    assert answer.stderr.startswith("hardware.device is cuda; it must be cpu")
    assert read_summary(RunDir(tmp_path / "run"))["cause"].startswith("ConfigError: hardware.device is cuda")


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_ends_the_run_within_a_minute(victim, tmp_path):
    words = (*TINY, "hardware.num_devices=2", "num_epochs=5000", "schedule.every_epochs=5000", "run_dir=run")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(adabatch_command(*words), cwd=tmp_path, stderr=subprocess.DEVNULL, env=environment)
    run_dir = RunDir(tmp_path / "run")
    while not (run_dir.epochs.exists() and len(read_rows(run_dir)) >= 2):
        assert process.poll() is None
        time.sleep(0.05)
    ranks = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    by_rank = {_rank_of(int(pid)): int(pid) for pid in ranks}
    os.kill(by_rank[victim], signal.SIGKILL)
    assert process.wait(60) == 1
    assert run_dir.failed.read_text().startswith("RankFailed: ")
    assert len(read_rows(run_dir)) >= 2


def _rank_of(pid: int) -> int:
    with open(f"/proc/{pid}/environ", "rb") as file:
        variables = dict(entry.split(b"=", 1) for entry in file.read().split(b"\0") if b"=" in entry)
    return int(variables[b"RANK"])


def test_ranks_that_are_not_as_many_as_the_config_says(tmp_path):
    answer = run_command(*TINY, "run_dir=run", cwd=tmp_path, RANK="0", WORLD_SIZE="3")
    assert answer.returncode == 2
    assert "it must be 3, the number of ranks that were started" in answer.stderr


def test_torchrun_starts_ranks_too(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "adabatch"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = [*TINY, "hardware.num_devices=2", "run_dir=run"]
    answer = subprocess.run([*command, *words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert json.loads((tmp_path / "run" / "meta.json").read_text())["world_size"] == 2


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "OutOfMemory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "OutOfMemory"),
        (RuntimeError("FIND was unable to find an engine to execute this computation"), "OutOfMemory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "OutOfMemory"),
        (MemoryError(), "OutOfMemory"),
        (OSError(28, "No space left on device", "x"), "DiskFull"),
        (ConfigError("no"), "ConfigError"),
        (ZeroDivisionError("division by zero"), "Exception"),
    ],
)
def test_causes_have_names(error, cause):
    assert describe_failure(error).cause == cause
