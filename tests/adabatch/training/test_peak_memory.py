"""The memory column: what would be read from a GPU is counted here by a stand-in for torch's allocator."""

from __future__ import annotations

import pytest
import torch

from adabatch.processes.ranks import Ranks
from adabatch.tools.verify_resume import differences
from adabatch.training.engine import Engine
from adabatch.training.peak_memory import PeakMemory
from tests.adabatch.support import read_rows, read_summary
from tests.conftest import Train

pytestmark = pytest.mark.slow

MEBIBYTE = 1 << 20
#: 60 samples: 8 updates an epoch, of one micro-batch each.
FIXED = ("schedule=fixed", "schedule.batch_size=8")
UPDATES = 8


class Allocator:
    """Counts as torch's does. What came before the training, such as measuring a cap, held 500 MiB for a moment."""

    def __init__(self) -> None:
        self.held, self.peak = 1 * MEBIBYTE, 500 * MEBIBYTE

    def hold_for_a_moment(self, mebibytes: int) -> None:
        self.peak = max(self.peak, self.held + mebibytes * MEBIBYTE)

    def max_memory_reserved(self, device: torch.device) -> int:
        return self.peak

    def reset_peak_memory_stats(self, device: torch.device) -> None:
        self.peak = self.held


@pytest.fixture
def allocator(monkeypatch: pytest.MonkeyPatch) -> Allocator:
    found = Allocator()
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "native")
    for name in ("max_memory_reserved", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, getattr(found, name))
    return found


@pytest.fixture
def memory_of_epochs(allocator: Allocator, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the mebibytes that an update needs in each epoch, to be filled; the run thinks that it is on a GPU."""
    by_epoch: list[int] = []
    calls = iter(range(1000))
    forward = Engine.forward

    def counted(engine: Engine, *args: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        allocator.hold_for_a_moment(by_epoch[next(calls) // UPDATES])
        return forward(engine, *args)

    monkeypatch.setattr(Engine, "forward", counted)
    monkeypatch.setattr("adabatch.training.loop.PeakMemory", lambda device: PeakMemory(torch.device("cuda", 0)))
    return by_epoch


def test_each_epoch_has_its_own_peak(train: Train, memory_of_epochs: list[int]) -> None:
    memory_of_epochs += [5, 3, 4]
    run_dir = train(*FIXED)
    # and 1 MiB that is held all the time
    assert [row["peak_memory_bytes"] for row in read_rows(run_dir)] == [
        str(6 * MEBIBYTE), str(4 * MEBIBYTE), str(5 * MEBIBYTE),
    ]  # fmt: skip
    assert read_summary(run_dir)["peak_memory_bytes"] == 6 * MEBIBYTE


def test_a_resumed_run_keeps_what_the_process_before_it_wrote(
    train: Train, memory_of_epochs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it goes on without a GPU, the rest is unknown, and so is the peak of the whole run."""
    memory_of_epochs += [5]  # the second epoch fails for want of a number
    train(*FIXED, "checkpoint.every_epochs=1", status=1)
    monkeypatch.undo()
    run_dir = train(*FIXED, "checkpoint.every_epochs=1")
    assert [row["peak_memory_bytes"] for row in read_rows(run_dir)] == [str(6 * MEBIBYTE), "", ""]
    assert read_summary(run_dir)["peak_memory_bytes"] is None
    whole = train(*FIXED, name="whole")
    assert differences(run_dir, whole) == []


def test_a_cpu_tells_none(train: Train) -> None:
    run_dir = train()
    assert [row["peak_memory_bytes"] for row in read_rows(run_dir)] == ["", "", ""]
    assert read_summary(run_dir)["peak_memory_bytes"] is None


def test_the_rank_that_holds_most_counts(allocator: Allocator) -> None:
    class OneOfTwo(Ranks):
        def max_over_ranks(self, value: int) -> int:
            return max(value, 7 * MEBIBYTE)

    memory = PeakMemory(torch.device("cuda", 0))
    memory.restart()
    allocator.hold_for_a_moment(4)
    assert memory.take(OneOfTwo()) == 7 * MEBIBYTE
    allocator.hold_for_a_moment(9)
    assert memory.take(OneOfTwo()) == 10 * MEBIBYTE
    assert memory.take(Ranks()) == 1 * MEBIBYTE  # nothing was added since


def test_an_allocator_that_counts_nothing_leaves_it_blank(
    allocator: Allocator, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocator.held = allocator.peak = 0  # as with PYTORCH_NO_CUDA_MEMORY_CACHING=1
    assert PeakMemory(torch.device("cuda", 0)).take(Ranks()) is None

    def refused(device: torch.device) -> int:
        raise RuntimeError("CUDAPluggableAllocator does not yet support this")

    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "pluggable")
    for name in ("max_memory_reserved", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, refused)
    assert PeakMemory(torch.device("cuda", 0)).take(Ranks()) is None
