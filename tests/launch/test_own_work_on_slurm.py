"""A sweep of a user's own network, data, optimizer, schedule and metric on a real SLURM cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adabatch.rundir.files import RunDir
from tests.adabatch.support import read_rows
from tests.launch.support import Launch, write_sweep
from tests.support import wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm chains")]  # on a cluster of their own

OWN_WORK = Path(__file__).parent.parent / "own_work"
SWEEP = """
name: own
overrides:
- network=my_nets:Net
- dataset=my_data:Stripes
- optimizer=my_optimizers:Lion
- optimizer.learning_rate=0.003
- metrics.recall=held_metrics:HeldRecall
- num_epochs=4
- hardware.num_threads=1
seeds: [0, 1]
baseline: small
target: 0.5
arms:
  growing: ["schedule=my_schedules:Doubling", schedule.batch_size=16]
  small: [schedule=fixed, schedule.batch_size=16, schedule.learning_rate_decay=0.5, schedule.every_epochs=2]
"""
#: A metric that lets no run finish its third epoch as long as a file is there.
HELD_METRICS = """
import time
from pathlib import Path

from my_metrics import Recall


class HeldRecall(Recall):
    _epochs = 0

    def compute(self) -> float:
        self._epochs += 1
        while self._epochs == 3 and Path("hold").exists():
            time.sleep(0.05)
        return super().compute()
"""
#: Prints the own metric's column of the frame of runs.
FINAL_RECALLS = "import json, sys, analysis; print(json.dumps(analysis.load(sys.argv[1]).runs.final_recall.to_dict()))"
FILES = ["held_metrics.py", "my_data.py", "my_metrics.py", "my_nets.py", "my_optimizers.py", "my_schedules.py"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's working folder, in which runs are held."""
    place = tmp_path / "mine"
    shutil.copytree(OWN_WORK, place)
    (place / "held_metrics.py").write_text(HELD_METRICS)
    (place / "hold").touch()
    return place


@pytest.fixture
def submit(launch: Launch, folder: Path) -> Callable[[], subprocess.CompletedProcess[str]]:
    """Submit the sweep from that folder, as a user's shell would; one run at a time."""
    write_sweep(launch.config_dir, "own", SWEEP)
    words = ("sweep=own", "cluster=slurm", "cluster.cpus_per_task=1", "cluster.max_concurrent_jobs=1")

    def call() -> subprocess.CompletedProcess[str]:
        process = launch.process("submit", *words, cwd=folder)
        out, err = process.communicate(timeout=240)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    return call


def meta_of(run: dict[str, Any]) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((Path(run["run_dir"]) / "meta.json").read_text())
    return meta


def in_python(folder: Path, *words: str) -> Any:
    """Return the JSON that a call of Python prints."""
    answer = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=240)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_a_sweep_of_ones_own_work_is_killed_edited_and_finished(cluster, launch, submit, folder):
    first = submit()
    assert first.returncode == 0, first.stdout + first.stderr
    copies = (launch.runs_dir / "own" / ".launch" / "code").iterdir()
    assert FILES in [sorted(path.name for path in copy.iterdir()) for copy in copies]  # the other is adabatch's

    # One run trains and three wait when the network is edited, and the training is killed.
    started = wait_until(lambda: [run for run in launch.states("own").values() if run["epoch"] == 3])
    assert [run["state"] for run in launch.states("own").values()].count("pending") == 3
    source = (folder / "my_nets.py").read_text()
    (folder / "my_nets.py").write_text(source.replace("width: int = 16", "width: int = 17"))
    (killed,) = started
    os.kill(json.loads((Path(killed["run_dir"]) / "progress.json").read_text())["pid"], signal.SIGKILL)
    wait_until(lambda: launch.states("own")[killed["name"]]["state"] == "failed")

    # The edited network cannot go on with what the other one began.
    before = meta_of(killed)["network_code"]
    refused = submit()
    assert refused.returncode == 2
    sentence = rf"trained with the network code {before}, and the code found now is (sha256:\w+)\."
    found = re.search(sentence, refused.stderr)
    assert found is not None, refused.stderr
    assert found.group(1) != before

    (folder / "my_nets.py").write_text(source)
    (folder / "hold").unlink()
    again = submit()
    assert again.returncode == 0, again.stdout + again.stderr
    assert "submitting 1 run" in again.stdout
    wait_until(lambda: {run["state"] for run in launch.states("own").values()} == {"done"})
    for run in launch.states("own").values():
        assert run["attempts"] == (2 if run["name"] == killed["name"] else 1)
        assert [row["epoch"] for row in read_rows(RunDir(run["run_dir"]))] == ["1", "2", "3", "4"]
        meta = meta_of(run)
        # 64 pixels to 16 units, and not 17, to 4 classes, with biases
        assert meta["num_parameters"] == (64 + 1) * 16 + (16 + 1) * 4
        assert meta["network_code"] == before
        kinds = {"network", "dataset", "optimizer", "metrics.recall"}
        assert meta["own_code"].keys() == kinds | ({"schedule"} if "growing" in run["name"] else set())

    tables = in_python(folder, "-m", "analysis", "tables", str(launch.runs_dir / "own"), "--format", "json")
    assert tables["refused"] == []
    finals = in_python(folder, "-c", FINAL_RECALLS, str(launch.runs_dir / "own"))
    assert finals == {
        run["run_dir"]: float(read_rows(RunDir(run["run_dir"]))[-1]["recall"]) for run in launch.states("own").values()
    }
