"""What plan, lint and forecast say before a run whose ranks grow with its batch, and what a partition must have."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from adabatch.config import HardwareConfig
from adabatch.config.compose import compose
from adabatch.measure.forecast import forecast
from adabatch.measure.times import Measurement
from adabatch.rundir.columns import COLUMNS
from launch.chain_forecast import averaging_sentence, device_sentences
from launch.chains import check_chain, cluster_for, parts_of
from launch.cluster_config import ClusterConfig
from launch.expand import Run
from launch.forecast import forecast_cells
from launch.partition import refuse_unavailable
from launch.slurm import SlurmError
from tests.adabatch.support import line
from tests.launch.support import write_sweep

#: 64 samples an epoch; batches of 8, 16 and 32, two epochs each.
WORDS = (
    "network=tiny_cnn", "dataset=synthetic", "dataset.num_train_samples=64", "dataset.num_test_samples=8",
    "schedule.batch_size=8", "schedule.every_epochs=2", "num_epochs=6", "hardware.num_devices=4",
)  # fmt: skip
GROWING = ("schedule=adabatch", "hardware.devices={8: 1, 16: 2, 32: 4}")


def run(arm, tmp_path, *words):
    config = compose([*WORDS, *words])
    return Run(arm, "cell", 0, {}, "fixed", config, tmp_path / arm)


@pytest.fixture
def pair(tmp_path):
    devices = "hardware.devices={8: 1, 16: 2, 32: 4}"
    return [run("fixed", tmp_path, "schedule=fixed", devices), run("growing", tmp_path, *GROWING)]


def test_plan_shows_the_chain_with_its_resources(launch):
    text = ", ".join([*WORDS[:-1], "hardware.num_nodes=2", "hardware.num_devices=2"])
    arms = 'arms: {growing: [schedule=adabatch, "hardware.devices={8: 1, 16: 2, 32: 4}"]}'
    write_sweep(launch.config_dir, "c", f"name: c\noverrides: [{text}]\nseeds: [0]\nbaseline: growing\n{arms}\n")
    answer = launch("plan", "sweep=c")
    shown = " ".join(answer.out.split())
    sentence = "A chain of 3 jobs: epochs 1-2 on 1 device, epochs 3-4 on 2 devices, epochs 5-6 on 2 nodes x 2 devices."
    assert sentence in shown
    assert "8 x 1 x 4" in shown
    assert "chain-costs-more" not in shown
    limits = "cluster.time={1: 8:00:00, 2: 0:30:00, 4: 1-00:00:00}"
    shown = " ".join(launch("plan", "sweep=c", "cluster=slurm", limits).out.split())
    assert "1-2 on 1 device for at most 8 h 00 min, epochs 3-4 on 2 devices for at most 30 min 00 s, epochs" in shown
    assert "5-6 on 2 nodes x 2 devices for at most 24 h 00 min." in shown
    answer = launch("plan", "sweep=c", "cluster=slurm", "cluster.time={1: 8:00:00, 4: 1-00:00:00}")
    assert answer.status == 2
    assert "cluster.time has limits for 1, 4 ranks; it must have one for each number of ranks, and a" in answer.err
    answer = launch("plan", "sweep=c", "hardware.devices={8: 1, 16: 4}")
    shown = " ".join(answer.out.split())
    # A batch of 16 on 4 ranks leaves each of them 4 samples.
    assert (
        "note chain-costs-more growing: From epoch 3 on 4 ranks have 4 samples of a batch each, and 8 before" in shown
    )


def test_a_forecast_predicts_seconds_and_device_seconds_stage_by_stage(pair, tmp_path):
    """A micro-batch of B takes 1 + B / 8 seconds: 2 s for each of 8, of which every stage has 8, 4 and 2 an epoch."""
    measurement = line([8, 16, 32], 1.0, 1 / 8)
    fixed, growing = (forecast(one.config, measurement) for one in pair)
    assert fixed.train_seconds == pytest.approx(6 * 8 * 2)
    assert fixed.device_seconds == pytest.approx(6 * 8 * 2)
    assert growing.train_seconds == pytest.approx(2 * (8 + 4 + 2) * 2)
    assert growing.device_seconds == pytest.approx(2 * (8 * 1 + 4 * 2 + 2 * 4) * 2)
    [cell] = forecast_cells(pair, dict.fromkeys([one.run_dir for one in pair], measurement))
    # 96 / 56 s, and 96 / 96 device-seconds
    assert device_sentences(cell) == ["growing: 1.71x in time for 1.00x the device-hours of fixed."]


def test_the_averaging_of_gradients_is_added_where_it_was_measured(pair):
    """0.5 s an update on 2 ranks, of which there are 8, and 0.75 s on 4, of which there are 4."""
    measurement = dataclasses.replace(line([8, 16, 32], 1.0, 1 / 8), averaging=((2, 0.5), (4, 0.75)))
    folders = [one.run_dir for one in pair]
    growing = forecast(pair[1].config, measurement)
    assert growing.train_seconds == pytest.approx(56 + 8 * 0.5 + 4 * 0.75)
    assert growing.device_seconds == pytest.approx(96 + 2 * 8 * 0.5 + 4 * 4 * 0.75)
    assert Measurement.from_dict(json.loads(json.dumps(measurement.as_dict()))) == measurement
    [cell] = forecast_cells(pair, dict.fromkeys(folders, measurement))
    assert averaging_sentence(cell).startswith("The ranks' averaging of gradients is included")
    partly = dataclasses.replace(measurement, averaging=((2, 0.5),))
    [cell] = forecast_cells(pair, dict.fromkeys(folders, partly))
    assert averaging_sentence(cell).endswith("to average their gradients is not included.")


@pytest.mark.long
@pytest.mark.slow
def test_the_averaging_of_gradients_is_measured_between_ranks_of_this_machine(launch, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    text = ", ".join([*WORDS[:-1], "hardware.num_devices=2", "hardware.num_threads=1"])
    arms = """arms:
  fixed: [schedule=fixed, "hardware.devices={8: 1, 16: 2}"]
  growing: [schedule=adabatch, "hardware.devices={8: 1, 16: 2}"]
"""
    write_sweep(launch.config_dir, "c", f"name: c\noverrides: [{text}]\nseeds: [0]\nbaseline: fixed\n{arms}")
    answer = launch("plan", "sweep=c", "--forecast")
    assert answer.status == 0, answer.err
    shown = " ".join(answer.out.split())
    assert "The ranks' averaging of gradients is included" in shown
    assert re.search(r"growing: [\d.]+x in time for [\d.]+x the device-hours of fixed\.", shown)


def test_a_chain_that_costs_more_than_it_saves_is_named(tmp_path):
    """A micro-batch takes 1 s, however few samples it has: 48 s against 16 + 8 + 4 s, of which 12 s are of 8 ranks."""
    devices = ("hardware.num_devices=8", "hardware.devices={8: 1, 16: 8}")
    runs = [run("fixed", tmp_path, "schedule=fixed", *devices), run("growing", tmp_path, "schedule=adabatch", *devices)]
    measurement = line([2, 4, 8], 1.0, 0.0)
    [cell] = forecast_cells(runs, dict.fromkeys([one.run_dir for one in runs], measurement))
    assert device_sentences(cell) == [
        "growing: 1.71x in time for 2.33x the device-hours of fixed. It costs more device-hours than it saves."
    ]


def test_a_chain_begins_where_the_finished_epochs_end(tmp_path):
    growing = run("growing", tmp_path, *GROWING)
    assert [part.num_ranks for part in parts_of(growing)] == [1, 2, 4]
    growing.run_dir.mkdir()
    rows = "\n".join("1," * 24 for _ in range(3))
    (growing.run_dir / "epochs.csv").write_text(",".join(COLUMNS) + "\n" + rows + "\n")
    assert [part.num_ranks for part in parts_of(growing)] == [2, 4]  # epoch 4 is next
    fixed = run("fixed", tmp_path, "schedule=fixed", "hardware.devices={8: 1, 16: 4}")
    assert [part.num_ranks for part in parts_of(fixed)] == [1]


def test_each_job_asks_for_the_gpus_of_its_ranks(tmp_path):
    growing = run("growing", tmp_path, *GROWING)
    cluster = ClusterConfig(kind="slurm", timeout_min=60, gpus_per_node="a100:4", sbatch={"exclude": "n3"})
    check_chain(cluster, growing.config)
    own = [cluster_for(cluster, growing.config, part) for part in parts_of(growing)]
    assert [one.gpus_per_node for one in own] == ["a100:1", "a100:2", "a100:4"]
    assert own[0].sbatch == {"exclude": "n3", "kill_on_invalid_dep": "yes"}
    kept = dataclasses.replace(cluster, sbatch={"kill-on-invalid-dep": "no"})
    assert cluster_for(kept, growing.config, parts_of(growing)[0]).sbatch == {"kill-on-invalid-dep": "no"}
    assert cluster_for(cluster, compose([*WORDS]), parts_of(growing)[0]) is cluster


@pytest.mark.parametrize(
    ("listing", "refused"),
    [
        ("gpu*|2|8|gpu:a100:4(S:0-1)\ncpu|9|64|(null)", None),
        ("gpu*|1|8|gpu:a100:4(S:0-1)\ncpu|9|64|(null)", "needs 2 nodes with 4 cores and 4 GPUs for 8 ranks"),
        ("gpu*|2|8|gpu:2", "the default partition has 0; nothing was submitted."),
        ("", None),
    ],
)
def test_a_partition_without_the_nodes_of_a_later_job_is_named_first(monkeypatch, listing, refused):
    monkeypatch.setattr("launch.partition.call", lambda command: listing)
    cluster = ClusterConfig(kind="slurm", timeout_min=60)
    wanted = [HardwareConfig("cuda", num_devices=1), HardwareConfig("cuda", num_nodes=2, num_devices=4)]
    if refused is None:
        refuse_unavailable(cluster, wanted)
        return
    with pytest.raises(SlurmError, match="nothing was submitted") as error:
        refuse_unavailable(cluster, wanted)
    assert refused in str(error.value)
