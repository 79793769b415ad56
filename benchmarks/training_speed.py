"""This package's trainer against the reference's loop and against bare steps: samples per second of an epoch."""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import load_average, wait_until_quiet
from benchmarks.measure import BenchmarkFailed, paired_ratios, run_child, spread_text
from benchmarks.tables import Table

#: Samples of one measurement on a CPU, for 5 to 20 seconds of the reference's loop on two cores.
_CPU_SAMPLES = {"resnet20": 3072, "vgg19_bn": 1024, "alexnet": 12288}
_MIN_UPDATES = 2
_GPU_SAMPLES = 57344
_CASES = [f"{network}:{batch}" for network in ("resnet20", "vgg19_bn", "alexnet") for batch in (128, 256, 1024, 2048)]
_QUICK = {"cases": ["resnet20:128"], "samples": 512, "repetitions": 2}
NOTES = (
    "samples/s over an epoch: loading, augmentation, forward, backward, update; without testing and saving. "
    "Median (smallest-largest) over the rounds; ratios are of measurements in the same round.",
    "The reference computes in fp32 whatever our precision, with the whole batch in one piece. Ours splits the batch "
    "into micro-batches of the size given. Bare: the same steps on resident tensors, without loader or trainer, "
    "compiled on a GPU. Matmul: our floating-point operations against a large matrix product's in the same precision. "
    "Others: cores that other processes used meanwhile.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training_speed")
    group.add_argument("--cases", nargs="+", default=_CASES, metavar="NETWORK:BATCH", help="such as resnet20:128")
    group.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    group.add_argument(
        "--devices", nargs="+", choices=("cpu", "cuda"), help="by default the CPU and a GPU if there is one"
    )
    group.add_argument("--samples", type=int, metavar="N", help="of a measurement; by default as the network is fast")
    group.add_argument("--workers", type=int, default=4, metavar="N", help="of the reference's loader")
    group.add_argument("--micro-batch", default="auto", metavar="N", help="our cap: auto (measured), null or a number")
    group.add_argument("--random-pixels", action="store_true", help="instead of Fashion-MNIST")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure all cases and yield after each what is measured so far; the failure of one does not end the others."""
    cases: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    for case in _cases(options):
        name = f"{case['network']} with batch {case['batch_size']} on {case['device']}"
        print(f"  {name} ...", file=sys.stderr)
        wait_until_quiet(options.wait)
        load_before = load_average()
        try:
            cases.append({"load_average_before": load_before, **_measure_case(case)})
        except BenchmarkFailed as failure:
            failures[name] = str(failure)
        yield {"cases": cases, "failures": failures}


def _cases(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    asked = {**vars(options), **(_QUICK if options.quick else {})}
    for device in options.devices or _devices():
        for case in asked["cases"]:
            network, batch_size = _network_and_batch(case)
            wanted = asked["samples"] or (_GPU_SAMPLES if device == "cuda" else _CPU_SAMPLES.get(network, 4096))
            yield {
                "network": network,
                "batch_size": batch_size,
                "num_samples": batch_size * max(_MIN_UPDATES, math.ceil(wanted / batch_size)),
                "precisions": options.precisions,
                "device": device,
                "repetitions": asked["repetitions"],
                "num_workers": options.workers,
                "max_micro_batch_size": options.micro_batch,
                "fashion_mnist": not options.random_pixels,
            }


def _network_and_batch(case: str) -> tuple[str, int]:
    network, _, batch = case.rpartition(":")
    if not network or not batch.isdecimal() or int(batch) < 1:
        raise BenchmarkFailed(f"--cases holds {case}; it must be NETWORK:BATCH, such as resnet20:128")
    return network, int(batch)


def _devices() -> list[str]:
    # Asked in a child: a parent that holds torch would add its own memory to the peaks measured later.
    answer = run_child(["-c", "import torch; print(torch.cuda.is_available())"]).output.strip()
    return ["cpu", "cuda"] if answer == "True" else ["cpu"]


def _measure_case(case: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        order = Path(folder, "case.json")
        order.write_text(json.dumps(case), encoding="utf-8")
        # A cache of its own: the micro-batch is measured now, on the machine as it is now.
        run_child(["-m", "benchmarks.training_case", str(order)], {"XDG_CACHE_HOME": folder})
        result: dict[str, Any] = json.loads(order.with_suffix(".result.json").read_text(encoding="utf-8"))
        return result


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the table of what `measure` yielded."""
    columns = (
        "network", "batch", "device", "precision", "micro-batch", "reference samples/s", "ours samples/s",
        "ours / reference", "ours / bare", "ours / matmul", "others, cores",
    )  # fmt: skip
    rows = [row for case in values["cases"] for row in _rows(case)]
    return [Table("Training speed", columns, rows, NOTES)]


def _rows(case: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    reference, count = case["reference"]["seconds"], case["num_samples"]
    for precision, arm in case["precision"].items():
        seconds = arm["seconds"]
        rate = case["flops_per_sample"] * statistics.median(count / one for one in seconds)
        yield (
            case["network"],
            str(case["batch_size"]),
            case["device"],
            precision,
            str(arm["micro_batch_size"]),
            spread_text([count / one for one in reference], ".0f"),
            spread_text([count / one for one in seconds], ".0f"),
            spread_text(paired_ratios(reference, seconds)),
            f"{spread_text(paired_ratios(arm['bare_seconds'], seconds), '.0f', 100)} %",
            f"{100 * rate / arm['matmul_flops_per_second']:.0f} %",
            _others_text(case["others_cores"], precision),
        )


def _others_text(others_cores: Mapping[str, Sequence[float | None]], precision: str) -> str:
    arms = ("reference", f"ours {precision}", f"bare {precision}")
    known = [cores for arm in arms for cores in others_cores[arm] if cores is not None]
    return spread_text(known, ".1f") if known else "unknown"
