"""What compiling leaves behind, which is nothing, and what may disturb it, which is no signal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from adabatch.config.compose import compose
from adabatch.training.compiler import compile_network, shielded_compiling
from tests.adabatch.support import TINY

pytestmark = pytest.mark.slow


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, values):
        return self.linear(values).relu()


@pytest.mark.long
def test_a_network_is_compiled_though_an_equal_one_was():
    """Two equal networks, of which the second uses nothing that the first has compiled, and keeps nothing of it."""
    hardware = compose([*TINY, "hardware.compile=true"]).hardware
    folders = []
    for _ in range(2):
        network = Small()
        compile_network(network, hardware)
        with torch.no_grad():
            network(torch.ones(3, 2))
        folders.append(Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]))
        assert list(folders[-1].rglob("*.so"))
    assert not folders[0].exists()
    assert folders[0] != folders[1]


def test_a_signal_to_all_processes_of_a_job_ends_no_compiler():
    signal_itself = "import os, signal; os.kill(os.getpid(), signal.SIGUSR2); print('lives')"
    with shielded_compiling():
        shielded = subprocess.run([sys.executable, "-c", signal_itself], capture_output=True, text=True)
    assert shielded.stdout == "lives\n"
    assert subprocess.run([sys.executable, "-c", signal_itself], capture_output=True).returncode < 0
