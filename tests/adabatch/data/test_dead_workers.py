"""A process that reads samples and dies is named as what it is."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from adabatch.data.loaded import LoadedSource
from adabatch.errors import HelperDied

pytestmark = pytest.mark.slow


class Deadly:
    """Samples of which the fifth one kills whoever reads it."""

    def __init__(self, how: str) -> None:
        self._how = how

    def __len__(self) -> int:
        return 8

    def read(self, index: int) -> tuple[torch.Tensor, int]:
        if index == 4 and self._how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if index == 4 and self._how == "exit":
            os._exit(3)
        if index == 4 and self._how == "bus":
            os.kill(os.getpid(), signal.SIGBUS)
        return torch.zeros(1), 0


def identity(samples: torch.Tensor) -> torch.Tensor:
    return samples


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("kill", "a loader worker was killed by SIGKILL; if nobody did it, the host's memory was too small"),
        ("exit", "a loader worker ended without a word"),
        ("bus", "a loader worker had no shared memory left"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_worker_that_dies_is_named(how: str, sentence: str) -> None:
    source = LoadedSource(Deadly(how), identity, torch.device("cpu"), 1, False)
    with pytest.raises(HelperDied, match=sentence):
        list(source.iterate(1, 0, [torch.arange(8)]))
