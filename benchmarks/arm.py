"""Arms of a benchmark. Each turn of an arm is a child process: it builds, warms up, measures, prints one line, ends.

So what an arm sets for its whole process, such as threads or how memory is kept, reaches no other arm or turn. Nothing
here imports torch.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adabatch.errors import EXIT_FAILED
from benchmarks.machine import OthersLoad
from benchmarks.measure import run_child, spread_text

#: What an arm measured in one turn, fit for JSON: ``seconds``, ``others_cores`` and what else the arm tells.
Measured = dict[str, Any]


def measure_in_child(module: str, order: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Measured:
    """Run ``python -m benchmarks.MODULE ORDER``, one turn of an arm, and return what it measured.

    Args:
        module: calls `print_measured`.
        order: what to measure, fit for JSON.
        environment: variables to set in addition to this process's.

    Raises:
        BenchmarkFailed: if the child fails.
    """
    child = run_child(["-m", f"benchmarks.{module}", json.dumps(order)], environment)
    measured: Measured = json.loads(child.output.splitlines()[-1])
    return measured


def print_measured(build: Callable[[dict[str, Any]], Callable[[], Measured]]) -> None:
    """Be one turn of an arm, in its child process.

    Args:
        build: prepares what the order asks for, warms it up, and returns what is then measured once.
    """
    try:
        measure = build(json.loads(sys.argv[1]))
        others = OthersLoad()
        measured = measure()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        # Not a normal exit: it would wait for a loader's workers. They end by themselves after this process.
        os._exit(EXIT_FAILED)
    print(json.dumps({"others_cores": others.mean_cores(), **measured}))


def seconds_of(rounds: Sequence[Measured]) -> list[float]:
    """Return the seconds of each round."""
    return [measured["seconds"] for measured in rounds]


def others_text(others_cores: Mapping[str, Sequence[float | None]], arms: Sequence[str]) -> str:
    """Return how many cores other processes used during the rounds of these arms, as `spread_text` writes it."""
    known = [cores for arm in arms for cores in others_cores[arm] if cores is not None]
    return spread_text(known, ".1f") if known else "unknown"
