"""Which rank a process is, by the variables of torchrun and SLURM, and which GPU it takes."""

import dataclasses
import os
import subprocess

import pytest

from adabatch.config import HardwareConfig
from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.processes.rank_place import rank_place
from tests.adabatch.support import TINY, not_none

pytestmark = pytest.mark.slow

TASK = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_NODELIST": "n1",
}


@pytest.mark.parametrize(
    ("visible", "gpu"),
    [
        ({}, 1),
        ({"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_GPUS_ON_NODE": "2"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "1", "SLURM_GPUS_ON_NODE": "2"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_GPUS_ON_NODE": "1"}, 1),  # which is refused: the other task has it
    ],
)
def test_a_task_bound_to_one_gpu_takes_the_first_it_sees(tmp_path, monkeypatch, visible, gpu):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho n1\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    hardware = dataclasses.replace(compose(TINY).hardware, num_devices=2)
    assert not_none(rank_place(hardware, {**TASK, **visible})).gpu == gpu


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "", "WORLD_SIZE": ""},
        {"RANK": "3", "WORLD_SIZE": ""},
        {"WORLD_SIZE": "4"},
        {"SLURM_NTASKS": "", "SLURM_JOB_ID": ""},
        {name: value for name, value in TASK.items() if name != "SLURM_STEP_ID"},  # a shell in an allocation
        {**TASK, "SLURM_STEP_ID": ""},
        {**TASK, "SLURM_STEP_ID": "4294967290"},  # an interactive step
        {**TASK, "SLURM_NTASKS": "1"},
        {**TASK, "SLURM_STEP_NUM_TASKS": "1"},  # one task, of an allocation for two
    ],
)
def test_variables_that_are_empty_or_of_no_step_start_no_ranks(environment):
    assert rank_place(HardwareConfig(device="cpu", num_devices=2), environment) is None


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"RANK": "one", "WORLD_SIZE": "2"}, "the variable RANK is one; it must be a whole number of at least 0"),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, "the variable RANK is -1"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "the variable WORLD_SIZE is 0; it must be a whole number of at least 1"),
        ({"RANK": "0", "WORLD_SIZE": "2.0"}, "the variable WORLD_SIZE is 2.0"),
        ({"RANK": "²", "WORLD_SIZE": "2"}, "the variable RANK is ²"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK or SLURM_PROCID is 2; it must be less than 2"),
        ({"RANK": "0", "WORLD_SIZE": "9" * 5000}, "the variable WORLD_SIZE is 9+"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "http"}, "the variable MASTER_PORT is http"),
        ({**TASK, "SLURM_PROCID": ""}, "the variable SLURM_PROCID is empty"),
        ({**TASK, "SLURM_LOCALID": "x"}, "the variable SLURM_LOCALID is x"),
        ({**TASK, "SLURM_JOB_ID": "7_1"}, "the variable SLURM_JOB_ID is 7_1"),
        ({**TASK, "SLURM_NTASKS": "2(x2)"}, r"the variable SLURM_NTASKS is 2\(x2\)"),
        ({**TASK, "SLURM_STEP_NUM_TASKS": "two"}, "the variable SLURM_STEP_NUM_TASKS is two"),
    ],
)
def test_a_variable_that_is_no_number_is_named(environment, sentence, monkeypatch):
    answer = subprocess.CompletedProcess([], 0, stdout="n1\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(ConfigError, match=sentence):
        rank_place(HardwareConfig(device="cpu", num_devices=2), environment)


def test_without_scontrol_the_first_node_is_not_known(monkeypatch):
    def absent(*_, **__):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(subprocess, "run", absent)
    with pytest.raises(ConfigError, match="SLURM's nodes are n1; scontrol must tell the first of them"):
        rank_place(HardwareConfig(device="cpu", num_devices=2), TASK)
