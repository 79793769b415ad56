"""Which GPU a rank of a SLURM job takes."""

import dataclasses
import os

import pytest

from adabatch.config.compose import compose
from adabatch.processes.rank_place import rank_place
from tests.adabatch.support import TINY, not_none

pytestmark = pytest.mark.slow

TASK = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_JOB_NODELIST": "n1"}


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
