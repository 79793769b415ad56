"""This package's trainer against the reference's loop and against bare steps: samples per second of an epoch.

Each arm has a process of its own, idle between its turns: what our trainer sets for its process must not help another.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.arm_process import ArmProcess
from benchmarks.machine import load_average, torch_devices, wait_until_quiet
from benchmarks.measure import BenchmarkFailed, alternate, paired_ratios, spread_text
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
    "The reference computes in fp32 (IEEE) whatever our precision, with the whole batch in one piece. Ours splits the "
    "batch into micro-batches of the size given. Bare: the same steps on resident tensors, without loader or trainer, "
    "compiled on a GPU as ours, or plainly if ours is not. Matmul: our floating-point operations against those of a "
    "large matrix product in the same precision. "
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
    # A cache of its own: the micro-batch is measured now, on the machine as it is now.
    with tempfile.TemporaryDirectory() as cache, ExitStack() as running:

        def start(module: str, **more: Any) -> ArmProcess:
            order = {"case": case, **more}
            return running.enter_context(ArmProcess(f"benchmarks.{module}", order, {"XDG_CACHE_HOME": cache}))

        arms = {"reference": start("reference_loop")}
        for precision in case["precisions"]:
            ours = start("our_trainer", precision=precision)
            resolved = {key: ours.facts[key] for key in ("max_micro_batch_size", "compile")}
            arms[f"ours {precision}"] = ours
            arms[f"bare {precision}"] = start("bare_steps", precision=precision, **resolved)
        alternate({name: arm.measure_round for name, arm in arms.items()}, case["repetitions"])
    return _result(case, arms)


def _result(case: Mapping[str, Any], arms: Mapping[str, ArmProcess]) -> dict[str, Any]:
    by_precision = {one: (arms[f"ours {one}"], arms[f"bare {one}"]) for one in case["precisions"]}
    ours, bare = next(iter(by_precision.values()))
    reference = arms["reference"]
    return {
        **case,
        "data": reference.facts["data"],
        "device_model": ours.facts["device_model"],
        "num_threads": ours.facts["num_threads"],
        "flops_per_sample": bare.facts["flops_per_sample"],
        "others_cores": {name: arm.others_cores for name, arm in arms.items()},
        "reference": {"seconds": reference.seconds, "epochs": reference.details},
        "precision": {
            precision: {
                "micro_batch_size": ours.facts["micro_batch_size"],
                "micro_batch_reason": ours.facts["micro_batch_reason"],
                "seconds": ours.seconds,
                "span_seconds": ours.details[-1],
                "forward_backward_seconds": [(spans["forward"], spans["backward"]) for spans in ours.details],
                "bare_seconds": bare.seconds,
                "matmul_flops_per_second": bare.facts["matmul_flops_per_second"],
            }
            for precision, (ours, bare) in by_precision.items()
        },
    }


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
