"""``python -m benchmarks.gpu_check``: does the trainer do on this GPU what the tests show without one?

Trains some dozens of small runs within three minutes: with and without CUDA graphs, killed and resumed, out of memory,
and a sweep with its forecast. Prints a line for each check; the exit status is 1 if one failed, 2 without a GPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch

from adabatch.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE
from benchmarks.gpu_check_runs import CheckFailed, Place
from benchmarks.gpu_checks import CHECKS, Check


@dataclass(frozen=True)
class Answer:
    """How a check ended.

    Attributes:
        trace: of an error that no check expects; else empty.
    """

    name: str
    is_ok: bool
    text: str
    seconds: float
    trace: str = ""

    def __str__(self) -> str:
        return f"{'ok' if self.is_ok else 'FAILED':<7} {self.name}: {self.text} ({self.seconds:.1f} s)"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks on this machine's first GPU, or those that are named; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only checks whose names contain one of them")
    words = parser.parse_args(arguments).words
    if not torch.cuda.is_available():
        print("torch finds no GPU here; gpu_check checks what only a GPU can show.", file=sys.stderr)
        return EXIT_USAGE
    chosen = [check for check in CHECKS if not words or any(word in check.name for word in words)]
    # Before torch asks for it: equal runs are to give equal bits.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    Path("runs").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="gpu_check-", dir="runs")).resolve()
    status = run_checks(chosen, Place(folder))
    if status == EXIT_DONE:
        shutil.rmtree(folder)
    else:
        print(f"the runs are in {folder}")
    return status


def run_checks(checks: Sequence[Check], place: Place) -> int:
    """Run the checks, print a line for each, go on after one that fails, and return the exit status.

    Those that only start processes run beside the others, unless they are timed.
    """
    started = time.monotonic()
    beside = [check for check in checks if check.has_children and not check.is_timed]
    timed = [check for check in checks if check.is_timed]
    with ThreadPoolExecutor(max_workers=1) as pool:
        others: list[Future[Answer]] = [pool.submit(_answer, check, place) for check in beside]
        answers = [_told(_answer(check, place), place) for check in checks if check not in (*beside, *timed)]
        answers += [_told(other.result(), place) for other in others]
    answers += [_told(_answer(check, place), place) for check in timed]
    failed = sum(not answer.is_ok for answer in answers)
    print(f"{len(answers) - failed} of {len(answers)} checks are ok, after {time.monotonic() - started:.0f} s")
    return EXIT_FAILED if failed else EXIT_DONE


def _answer(check: Check, place: Place) -> Answer:
    started = time.monotonic()
    try:
        is_ok, text, trace = True, check.run(place), ""
    except CheckFailed as failure:
        is_ok, text, trace = False, str(failure), ""
    except Exception as error:
        is_ok, text, trace = False, f"{type(error).__name__}: {error}", traceback.format_exc()
    return Answer(check.name, is_ok, " ".join(text.split()), time.monotonic() - started, trace)


def _told(answer: Answer, place: Place) -> Answer:
    print(answer, flush=True)
    if answer.trace:
        with open(place.folder / "tracebacks.txt", "a", encoding="utf-8") as file:
            file.write(f"{answer.name}\n{answer.trace}\n")
    return answer


if __name__ == "__main__":
    sys.exit(main())
