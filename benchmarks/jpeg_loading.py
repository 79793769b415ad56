"""Whether loading JPEGs keeps up with training: each alone, and both together, in samples per second."""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from adabatch.rundir.cores import available_cores
from benchmarks.arm import Measured, measure_in_child, others_text, seconds_of
from benchmarks.machine import torch_devices
from benchmarks.measure import BenchmarkFailed, alternate, run_child, spread_text
from benchmarks.tables import Table

_NUM_CLASSES = 4
#: Few, because the measurement leaves testing out.
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
    "Samples/s: median (smallest-largest) over the rounds. Loader: an epoch's batches are only read and decoded. "
    "Steps: our trainer on tensors of the same shape that lie on the device. Together: our trainer on the files.",
    "Waiting: data_seconds as a share of train_seconds, when both work together. Workers needed: the rate of the steps "
    "divided by the loader's rate per worker, rounded up, if each worker has a core.",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("jpeg_loading")
    group.add_argument(
        "--jpeg-images", type=int, default=256, metavar="N", help="files in an epoch; a worker takes 64 at a time"
    )
    group.add_argument(
        "--jpeg-network", default="torchvision.mobilenet_v3_small", metavar="NAME", help="ours or torchvision.NAME"
    )
    group.add_argument("--jpeg-image-size", type=int, default=224, metavar="N", help="width and height of a crop")
    group.add_argument("--jpeg-batch", type=int, default=64, metavar="N", help="samples in an update")
    group.add_argument("--jpeg-precision", choices=("fp32", "bf16"), default="fp32")
    group.add_argument(
        "--jpeg-workers", type=int, nargs="+", metavar="N", help="default: 0, 1, 2, and the number of cores"
    )


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure on every device; yield the results so far after each."""
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
            try:
                cases.append({"mean_file_bytes": mean_bytes, **_measure_case(case)})
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
    def arm(name: str, num_workers: int = 0) -> Callable[[], Measured]:
        return partial(measure_in_child, "jpeg_case", {"case": case, "arm": name, "num_workers": num_workers})

    arms = {"steps": arm("steps")}
    for number in case["workers"]:
        arms |= {f"{name} {number}": arm(name, number) for name in ("loader", "together")}
    rounds = alternate(arms, case["repetitions"])
    by_arm = {name: {"seconds": seconds_of(measured), "rounds": measured} for name, measured in rounds.items()}
    return {
        **{key: value for key, value in case.items() if key != "root"},
        **{key: rounds["steps"][0][key] for key in ("device_model", "num_threads")},
        "others_cores": {name: [one["others_cores"] for one in measured] for name, measured in rounds.items()},
        "steps": by_arm["steps"],
        "by_workers": [
            {"num_workers": number, "loader": by_arm[f"loader {number}"], "together": by_arm[f"together {number}"]}
            for number in case["workers"]
        ],
    }


def tables(values: Mapping[str, Any]) -> list[Table]:
    """Return the table of the results of `measure`."""
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
        others_text(case["others_cores"], ("steps", f"loader {number}", f"together {number}")),
    )
