"""How far the loader of JPEGs is from the trainer: each alone, and both together, in samples per second."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from adabatch.rundir.provenance import available_cores
from benchmarks.arm_process import ArmProcess
from benchmarks.machine import load_average, torch_devices, wait_until_quiet
from benchmarks.measure import BenchmarkFailed, alternate, run_child, spread_text
from benchmarks.tables import Table

_NUM_CLASSES = 4
#: Few, since testing is no part of what is measured.
_NUM_TEST_IMAGES = 8
_WORKERS = (0, 1, 2)
_MAX_REPETITIONS = 3
_KILOBYTE = 1000
_QUICK = {
    "network": "tiny_cnn",
    "batch_size": 8,
    "image_size": 32,
    "num_images": 20,
    "repetitions": 1,
    "workers": [0, 1],
}
NOTES = (
    "samples/s: median (smallest-largest) over the rounds. Loader: an epoch's batches read, decoded and thrown away. "
    "Steps: our trainer on tensors of the same shape that lie on the device. Together: our trainer on the files.",
    "Waiting: the share of data_seconds in train_seconds when both work together. Workers needed: the steps' rate "
    "divided by the loader's rate per worker, rounded up; it supposes a core for each.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("jpeg_loading")
    group.add_argument(
        "--jpeg-images", type=int, default=256, metavar="N", help="files of an epoch; a worker takes 64 at once"
    )
    group.add_argument(
        "--jpeg-network", default="torchvision.mobilenet_v3_small", metavar="NAME", help="ours or torchvision.NAME"
    )
    group.add_argument("--jpeg-image-size", type=int, default=224, metavar="N", help="pixels of a crop's side")
    group.add_argument("--jpeg-batch", type=int, default=64, metavar="N", help="samples of an update")
    group.add_argument("--jpeg-precision", choices=("fp32", "bf16"), default="fp32")
    group.add_argument(
        "--jpeg-workers", type=int, nargs="+", metavar="N", help="by default 0, 1, 2, and as many as there are cores"
    )


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure on every device and yield after each what is measured so far."""
    cases: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as root:
        asked = _asked(options, root)
        sizes = (asked["num_images"], asked["num_test_images"], asked["num_classes"])
        run_child(["-m", "benchmarks.jpeg_files", root, *map(str, sizes)])
        mean_bytes = statistics.mean(path.stat().st_size for path in Path(root, "train").glob("*/*.JPEG"))
        for device in options.devices or torch_devices():
            case = {**asked, "device": device}
            name = f"{case['network']} on {device}"
            print(f"  {name} ...", file=sys.stderr)
            wait_until_quiet(0.0 if options.quick else options.wait)
            before = {"load_average_before": load_average(), "mean_file_bytes": mean_bytes}
            try:
                cases.append({**before, **_measure_case(case)})
            except BenchmarkFailed as failure:
                failures[name] = str(failure)
            yield {"cases": cases, "failures": failures}


def _asked(options: argparse.Namespace, root: str) -> dict[str, Any]:
    return {
        "root": root,
        "network": options.jpeg_network,
        "batch_size": min(options.jpeg_batch, options.jpeg_images),
        "image_size": options.jpeg_image_size,
        "num_images": options.jpeg_images,
        "num_test_images": _NUM_TEST_IMAGES,
        "num_classes": _NUM_CLASSES,
        "precision": options.jpeg_precision,
        "repetitions": min(options.repetitions, _MAX_REPETITIONS),
        "workers": options.jpeg_workers or sorted({*_WORKERS, available_cores()}),
        **(_QUICK if options.quick else {}),
    }


def _measure_case(case: Mapping[str, Any]) -> dict[str, Any]:
    with ExitStack() as running:

        def start(arm: str, num_workers: int = 0) -> ArmProcess:
            order = {"case": case, "arm": arm, "num_workers": num_workers}
            return running.enter_context(ArmProcess("benchmarks.jpeg_case", order))

        steps = start("steps")
        pairs = {number: (start("loader", number), start("together", number)) for number in case["workers"]}
        arms = {"steps": steps}
        for number, (loader, together) in pairs.items():
            arms |= {f"loader {number}": loader, f"together {number}": together}
        alternate({name: arm.measure_round for name, arm in arms.items()}, case["repetitions"])
    return {
        **{key: value for key, value in case.items() if key != "root"},
        **steps.facts,
        "others_cores": {name: arm.others_cores for name, arm in arms.items()},
        "steps": _measured(steps),
        "by_workers": [
            {"num_workers": number, "loader": _measured(loader), "together": _measured(together)}
            for number, (loader, together) in pairs.items()
        ],
    }


def _measured(arm: ArmProcess) -> dict[str, Any]:
    return {"seconds": arm.seconds, "rounds": arm.details}


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the table of what `measure` yielded."""
    columns = (
        "network", "pixels", "batch", "device", "precision", "workers", "loader samples/s", "steps samples/s",
        "together samples/s", "waiting", "workers needed", "others, cores",
    )  # fmt: skip
    rows = [_row(case, row) for case in values["cases"] for row in case["by_workers"]]
    files = [
        f"{case['num_images']} files of {case['mean_file_bytes'] / _KILOBYTE:.0f} kB on average on {case['device']}."
        for case in values["cases"]
    ]
    return [Table("Loading JPEGs", columns, rows, (*NOTES, *files))]


def _row(case: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[str, ...]:
    number = row["num_workers"]
    loader, steps, together = (
        [case["num_images"] / seconds for seconds in arm["seconds"]]
        for arm in (row["loader"], case["steps"], row["together"])
    )
    waiting = [one["data_seconds"] / one["train_seconds"] for one in row["together"]["rounds"]]
    needed = math.ceil(number * statistics.median(steps) / statistics.median(loader))
    others = [
        cores
        for arm in ("steps", f"loader {number}", f"together {number}")
        for cores in case["others_cores"][arm]
        if cores is not None
    ]
    return (
        case["network"],
        str(case["image_size"]),
        str(case["batch_size"]),
        case["device"],
        case["precision"],
        str(number),
        spread_text(loader, ".0f"),
        spread_text(steps, ".0f"),
        spread_text(together, ".0f"),
        f"{spread_text(waiting, '.0f', 100)} %",
        str(needed) if number else "",
        spread_text(others, ".1f") if others else "unknown",
    )
