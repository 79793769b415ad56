"""Stand-ins for the recording of CUDA graphs, which needs a GPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adabatch.training.cuda_graphs import NotRecordable


class EagerRecorder:
    """Runs the recorded callable at each replay, on the same tensors: all rules of graphs but the recording itself.

    Attributes:
        num_recorded, num_replayed: how often each was done.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds
        self.num_recorded = self.num_replayed = 0

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield

    @contextmanager
    def watch(self) -> Iterator[None]:
        yield

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        time.sleep(self._seconds)
        self.num_recorded += 1

        def replay() -> None:
            self.num_replayed += 1
            run()

        return replay


class RefusingRecorder(EagerRecorder):
    """Finds at the first warm-up that nothing can be recorded."""

    @contextmanager
    def watch(self) -> Iterator[None]:
        yield
        raise NotRecordable("the network waits for values on the GPU, as .item() does")
