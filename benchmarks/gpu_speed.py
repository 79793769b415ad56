"""A GPU in minutes: the reference's loop, our trainer with and without CUDA graphs, and a bare whole-update graph.

All arms of a case are built once, side by side in two processes, and measured in turn. First come all cases without
compiling, then the compiled networks, the small ones first: what there was no time for is named.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from adabatch.rundir.cores import available_cores
from benchmarks.arm import Measured
from benchmarks.gpu_case import BARE, COMPILED, OUR_ARMS, REFERENCE, arms_before_compiling, arms_with_compiling
from benchmarks.machine import torch_devices
from benchmarks.measure import BenchmarkFailed, spread_text
from benchmarks.served import OutOfTime, ServedArms
from benchmarks.tables import Table

#: Network, batch, and the place in the order of compiling: small networks first, the large ones last.
_CASES = (("resnet20", 128, 0), ("resnet20", 1024, 3), ("alexnet", 256, 1), ("vgg19_bn", 128, 2))
_QUICK_CASES = (("alexnet", 8, 0),)
#: An epoch of about the paper's size, of which starting the reference's loader is no large part.
_NUM_SAMPLES, _QUICK_SAMPLES = 57344, 16
#: Of the time, for all cases without compiling.
_SHARE_BEFORE_COMPILING = 0.6
#: With a compiled network, so that time is left for compiling the next one.
_MOST_COMPILED_ROUNDS = 2
#: Of the cores, for the reference's loader.
_WORKERS_SHARE = 0.75
NOTES = (
    "Samples/s over an epoch: loading, augmentation, forward, backward, update; without compiling, searching kernels, "
    "recording, testing and saving. Median (smallest-largest) over the rounds; each ratio compares two measurements of "
    "one round.",
    "Reference: the paper's loop, in fp32 (IEEE), with PIL images from the loader's workers. Eager, graphs: our "
    "trainer with hardware.cuda_graphs false and auto. Bare: zeroing, forward, backward and update in one CUDA graph, "
    "replayed on the same images, without loader, trainer and metrics; torch records it without our code.",
    "Ready after: building the arm and its first epoch's compiling, search of kernels and recording.",
)
#: In its precision.
_COMPARED_WITH_BARE = [name for name, arm in OUR_ARMS.items() if arm.precision == "bf16"]
_COLUMNS = ("network", "batch", "arm", "samples/s", "x reference", "of bare", "ready after, s", "rounds")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("gpu_speed", "only where it is named; --quick needs no GPU, and records nothing")
    group.add_argument(
        "--gpu-seconds", type=float, default=440.0, metavar="S", help="turns that last longer are cut off; default: 440"
    )
    group.add_argument(
        "--gpu-workers", type=int, metavar="N", help="of the reference's loader; default: three of four cores"
    )


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure all cases, and print each; yield the results so far after each. If an arm fails, the others go on.

    Raises:
        BenchmarkFailed: if there is no GPU.
    """
    if not options.quick and "cuda" not in torch_devices():
        raise BenchmarkFailed("torch finds no GPU here; --quick tries the benchmark out on the CPU")
    with ExitStack() as stack:
        cases = [stack.enter_context(_CaseArms(case)) for case in _cases(options)]
        started = time.monotonic()
        end_by = started + options.gpu_seconds
        for place, case in enumerate(cases, 1):
            # Time that a case leaves is for the next ones.
            share = _SHARE_BEFORE_COMPILING * place / len(cases)
            begin_by = started + share * options.gpu_seconds
            case.measure_rounds(arms_before_compiling(case.device), options.repetitions, begin_by, end_by)
            yield _so_far(cases)
        if not options.quick:
            rounds = min(options.repetitions, _MOST_COMPILED_ROUNDS)
            for _, case in sorted(zip((order for *_, order in _CASES), cases, strict=True), key=lambda pair: pair[0]):
                case.measure_rounds(arms_with_compiling(), rounds, end_by, end_by)
                yield _so_far(cases)


def _cases(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what `benchmarks.training_case.Case` is made of; that module imports torch."""
    workers = options.gpu_workers if options.gpu_workers is not None else int(_WORKERS_SHARE * available_cores())
    return [
        {
            "network": network,
            "batch_size": batch_size,
            "num_samples": _QUICK_SAMPLES if options.quick else _NUM_SAMPLES,
            "precisions": ["fp32", "bf16"],
            "device": "cpu" if options.quick else "cuda",
            "repetitions": options.repetitions,
            "num_workers": 0 if options.quick else workers,
            "max_micro_batch_size": "null",
            "fashion_mnist": False,
        }
        for network, batch_size, _ in (_QUICK_CASES if options.quick else _CASES)
    ]


class _CaseArms:
    """The arms of one case, and what they measured.

    Attributes:
        device: where all compute.
        rounds: of each round, what each arm measured that had its turn.
        failures: why an arm has no further turns, by arm.
    """

    def __init__(self, case: Mapping[str, Any]) -> None:
        self.device: str = case["device"]
        self.rounds: list[dict[str, Measured]] = []
        self.failures: dict[str, str] = {}
        self._case = case
        self._servers: dict[str, ServedArms] = {}
        self._is_over = False

    def __enter__(self) -> _CaseArms:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.stop()

    def measure_rounds(self, arms: Iterable[str], most: int, begin_by: float, end_by: float) -> None:
        """Give all arms up to ``most`` turns.

        Args:
            begin_by: no round but the first begins if it would end later, taking as long as the one before.
            end_by: a turn that lasts longer is cut off, and is the last one of this case.
        """
        if not self._servers:
            self._start()
        took = 0.0
        for number in range(most):
            started = time.monotonic()
            if self._is_over or started >= end_by or (number and started + took > begin_by):
                break
            self.rounds.append({})
            for arm in arms:
                if not self._is_over and arm not in self.failures:
                    self._measure(arm, end_by - time.monotonic())
            took = time.monotonic() - started

    def _start(self) -> None:
        order = {"case": self._case}
        self._servers = {
            REFERENCE: ServedArms("benchmarks.gpu_reference", order),
            BARE: ServedArms("benchmarks.gpu_ours", order),
        }

    def _measure(self, arm: str, max_seconds: float) -> None:
        server = self._servers[REFERENCE if arm == REFERENCE else BARE]
        try:
            self.rounds[-1][arm] = server.measure(arm, max_seconds)
            text = f"{arm}: {_rate(self.rounds[-1][arm]):,.0f} samples/s"
            if REFERENCE in self.rounds[-1]:
                text += f", {_ratios({'rounds': self.rounds[-1:]}, arm, REFERENCE)[0]:.2f} x reference"
        except OutOfTime:
            self._is_over = True
            text = f"{arm}: no time left"
        except BenchmarkFailed as failure:
            self.failures[arm] = str(failure)
            text = f"{arm} failed: {failure}"
        print(f"  {self._case['network']} with batch {self._case['batch_size']}, {text}", file=sys.stderr, flush=True)

    def result(self) -> dict[str, Any]:
        """Return what was measured, fit for JSON."""
        return {**self._case, "rounds": self.rounds, "failures": self.failures}


def _so_far(cases: Iterable[_CaseArms]) -> dict[str, Any]:
    results = [case.result() for case in cases]
    failures = {
        f"{result['network']} with batch {result['batch_size']}, {arm}": failure
        for result in results
        for arm, failure in result["failures"].items()
    }
    return {"cases": results, "failures": failures}


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the table of the results of `measure`."""
    return [Table("GPU speed", _COLUMNS, [row for case in values["cases"] for row in _rows(case)], NOTES)]


def _rows(case: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for arm in (REFERENCE, *OUR_ARMS, BARE):
        turns = [one[arm] for one in case["rounds"] if arm in one]
        if not turns:
            if arm in case["failures"] or (arm == COMPILED and case["device"] == "cuda"):
                why = "failed" if arm in case["failures"] else "no time left"
                yield (case["network"], str(case["batch_size"]), arm, why, "", "", "", "0")
            continue
        yield (
            case["network"],
            str(case["batch_size"]),
            arm,
            spread_text([_rate(turn) for turn in turns], ",.0f"),
            spread_text(_ratios(case, arm, REFERENCE)),
            f"{spread_text(_ratios(case, arm, BARE), '.0f', 100)} %" if arm in _COMPARED_WITH_BARE else "",
            f"{turns[0]['build_seconds'] + turns[0].get('growth_seconds', 0.0):.1f}",
            str(len(turns)),
        )


def _ratios(case: Mapping[str, Any], arm: str, other: str) -> list[float]:
    """Return an arm's rate over another one's, for each round in which both had their turns."""
    return [_rate(one[arm]) / _rate(one[other]) for one in case["rounds"] if arm in one and other in one]


def _rate(measured: Mapping[str, Any]) -> float:
    return float(measured["num_samples"] / measured["seconds"])
