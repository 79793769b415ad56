"""The child process of `gpu_speed` that holds the reference's loop; see `benchmarks.served`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from benchmarks.arm import Measured
from benchmarks.reference_loop import build_loop
from benchmarks.served import Build, serve
from benchmarks.training_case import Case


def start(order: dict[str, Any]) -> Build:
    """Return how the only arm is built."""
    case = Case(**order["case"])

    def build(arm: str) -> Callable[[], Measured]:
        loop = build_loop(case)
        return lambda: {**asdict(loop.train_epoch()), "arm": arm}

    return build


if __name__ == "__main__":
    serve(start)
