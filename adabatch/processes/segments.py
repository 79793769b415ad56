"""Runs a training on this machine segment by segment, where its number of ranks grows with the batch."""

from __future__ import annotations

from adabatch.config import TrainConfig, allocation_of
from adabatch.errors import EXIT_FAILED, EXIT_SEGMENT_END
from adabatch.processes.local_ranks import RanksStopRequest, record_stop, run_ranks
from adabatch.rundir.columns import count_rows
from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import Failure, mark_failed, write_summary
from adabatch.rundir.states import State
from adabatch.terminal import counted


def run_segments(config: TrainConfig, run_dir: RunDir) -> int:
    """Run the ranks of one allocation after another, until the run ends, and return its exit status.

    Which one is next follows from the finished epochs. If the checkpoint holds fewer of them, the ranks see that, write
    so, and end.
    """
    stop = RanksStopRequest()
    with stop.installed():
        tried = None
        while True:
            part = allocation_of(config, count_rows(run_dir.epochs) + 1)
            if part == tried:
                return _record_standstill(run_dir, part.num_ranks)
            tried = part
            status = run_ranks(part.hardware, run_dir, stop)
            if status != EXIT_SEGMENT_END:
                return status
            if stop.signal is not None:  # it came when the ranks had nothing left to save
                return record_stop(stop, run_dir)


def _record_standstill(run_dir: RunDir, num_ranks: int) -> int:
    """Record as a failure that ranks were started twice, and did not train."""
    failure = Failure(
        "RankFailed", f"{counted(num_ranks, 'rank')} ended without having trained, twice; the log says why"
    )
    mark_failed(run_dir, failure)
    write_summary(run_dir, State.FAILED, str(failure))
    return EXIT_FAILED
