"""This package's trainer against the reference's loop and against bare steps: samples per second in an epoch."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from benchmarks.arm import Measured, measure_in_child, others_text, seconds_of
from benchmarks.machine import torch_devices
from benchmarks.measure import BenchmarkFailed, alternate, paired_ratios, spread_text
from benchmarks.tables import Table

#: Samples of one measurement on a CPU: the reference's loop needs 5 to 20 seconds for them on two cores.
_CPU_SAMPLES = {"resnet20": 3072, "vgg19_bn": 1024, "alexnet": 12288}
_MIN_UPDATES = 2
_GPU_SAMPLES = 57344
_CASES = [f"{network}:{batch}" for network in ("resnet20", "vgg19_bn", "alexnet") for batch in (128, 256, 1024, 2048)]
_QUICK = {"cases": ["resnet20:128"], "samples": 512, "repetitions": 2}
NOTES = (
    "Samples/s over an epoch: loading, augmentation, forward, backward, update; without testing and saving. "
    "Median (smallest-largest) over the rounds; each ratio compares two measurements of one round.",
    "The reference always computes in fp32 (IEEE), with the whole batch at once. Ours splits the batch into "
    "micro-batches of the given size. Bare: the same steps on tensors that lie on the device, without loader and "
    "trainer; on a GPU always compiled, as ours or in the default mode. Matmul: our floating-point operations per "
    "second as a share of those of a large matrix product in the same precision. Others: cores that other processes "
    "used meanwhile.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training_speed")
    group.add_argument("--cases", nargs="+", default=_CASES, metavar="NETWORK:BATCH", help="such as resnet20:128")
    group.add_argument("--precisions", nargs="+", choices=("fp32", "bf16"), default=["fp32", "bf16"])
    group.add_argument(
        "--devices", nargs="+", choices=("cpu", "cuda"), help="default: the CPU, and the GPU if there is one"
    )
    group.add_argument("--samples", type=int, metavar="N", help="in an epoch; default: by the speed of the network")
    group.add_argument("--workers", type=int, default=4, metavar="N", help="of the reference's data loader")
    group.add_argument(
        "--micro-batch",
        default="auto",
        metavar="N",
        help="our largest micro-batch: a number, auto (measured) or null (no limit)",
    )
    group.add_argument("--random-pixels", action="store_true", help="instead of Fashion-MNIST")


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure all cases; yield the results so far after each. If a case fails, the others go on."""
    cases: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    for case in _cases(options):
        name = f"{case['network']} with batch {case['batch_size']} on {case['device']}"
        print(f"  {name} ...", file=sys.stderr)
        try:
            cases.append(_measure_case(case))
        except BenchmarkFailed as failure:
            failures[name] = str(failure)
        yield {"cases": cases, "failures": failures}


def _cases(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    asked = {**vars(options), **(_QUICK if options.quick else {})}
    for device in options.devices or torch_devices():
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


def _measure_case(case: Mapping[str, Any]) -> dict[str, Any]:
    # An empty cache, so that the micro-batch is measured now; the later turns of the case find it there.
    with tempfile.TemporaryDirectory() as cache:

        def arm(module: str, precision: str | None = None) -> Callable[[], Measured]:
            return partial(measure_in_child, module, {"case": case, "precision": precision}, {"XDG_CACHE_HOME": cache})

        arms = {"reference": arm("reference_loop")}
        for precision in case["precisions"]:
            arms[f"ours {precision}"] = arm("our_trainer", precision)
            arms[f"bare {precision}"] = arm("bare_steps", precision)
        rounds = alternate(arms, case["repetitions"])
    return _result(case, rounds)


def _result(case: Mapping[str, Any], rounds: Mapping[str, list[Measured]]) -> dict[str, Any]:
    by_precision = {one: (rounds[f"ours {one}"], rounds[f"bare {one}"]) for one in case["precisions"]}
    ours, bare = next(iter(by_precision.values()))
    return {
        **case,
        "data": rounds["reference"][0]["data"],
        "device_model": ours[0]["device_model"],
        "num_threads": ours[0]["num_threads"],
        "flops_per_sample": bare[0]["flops_per_sample"],
        "others_cores": {name: [one["others_cores"] for one in measured] for name, measured in rounds.items()},
        "reference": {"seconds": seconds_of(rounds["reference"]), "epochs": rounds["reference"]},
        "precision": {
            precision: {
                "micro_batch_size": ours[0]["micro_batch_size"],
                "micro_batch_reason": ours[0]["micro_batch_reason"],
                "seconds": seconds_of(ours),
                "span_seconds": [one["span_seconds"] for one in ours],
                "bare_seconds": seconds_of(bare),
                "matmul_flops_per_second": statistics.median(one["matmul_flops_per_second"] for one in bare),
            }
            for precision, (ours, bare) in by_precision.items()
        },
    }


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the table of the results of `measure`."""
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
            others_text(case["others_cores"], ("reference", f"ours {precision}", f"bare {precision}")),
        )
