"""Recorded sweeps, as large and as awkward as users' own, made in seconds without training.

A run's seconds follow one rule, so that pictures can be checked against it: an update of B samples takes
`FIXED_SECONDS` + B * `SECONDS_PER_SAMPLE`, and everything is stretched by the noise of its seed.
"""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.cli import main
from tests.analysis.runs import SAMPLES, edit_epochs, write_run

FIXED_SECONDS, SECONDS_PER_SAMPLE = 0.05, 0.005
#: Shares of a training second; growth comes on top, as another fiftieth, where the batch grows.
SPANS = {"data": 0.1, "forward": 0.3, "backward": 0.5, "update": 0.1}
NUM_EPOCHS = 12


#: What a forecast of such runs records of its line; all is in a micro-batch, and optimizer steps take no time.
FORECAST = {
    "train_seconds": 100.0,
    "growth_seconds": 0.0,
    "test_seconds": 12.0,
    "uses_graphs": False,
    "fixed_seconds": FIXED_SECONDS,
    "seconds_per_sample": SECONDS_PER_SAMPLE,
    "update_seconds": 0.0,
}


def batches_of(first: int, growth: int = 1, every_epochs: int = 4, num_epochs: int = NUM_EPOCHS) -> list[int]:
    """Return the batch size by epoch of a schedule that multiplies it every few epochs."""
    return [first * growth ** (epoch // every_epochs) for epoch in range(num_epochs)]


def accuracies_of(final: float, num_epochs: int, source: random.Random) -> list[float]:
    """Return a curve that rises to about ``final``, in steps of one in 1,000 test samples."""
    curve = [final - (final - 0.1) * 0.6**epoch for epoch in range(1, num_epochs + 1)]
    return [round(max(0.0, min(1.0, value + source.gauss(0, 0.002))), 3) for value in curve]


def write_arm(
    root: Path,
    arm: str,
    batches: Sequence[int],
    final: float,
    seeds: Sequence[int],
    *,
    noise: float = 0.01,
    **kind: Any,
) -> None:
    """Write the runs of an arm.

    Args:
        final: about the accuracy at the end.
        kind: further arguments of `tests.analysis.runs.write_run`.
    """
    for seed in seeds:
        source = random.Random(f"{arm} {seed}")
        stretch = 1 + source.gauss(0, noise)
        seconds = [stretch * SAMPLES / size * (FIXED_SECONDS + size * SECONDS_PER_SAMPLE) for size in batches]
        accuracies = accuracies_of(final, len(batches), source)
        spans = SPANS if len(set(batches)) == 1 else {**SPANS, "growth": 0.02}
        write_run(root, arm, seed, accuracies=accuracies, epoch_seconds=seconds, batches=batches, spans=spans, **kind)


def two_arms(root: Path) -> Path:
    """Two arms with two seeds: 20 and 24 s against 10 and 10 s; the growing one is 0.05 points worse."""
    for seed, seconds in enumerate((10, 12)):
        write_run(root, "fixed", seed, accuracies=(0.5, 0.90), epoch_seconds=seconds, rates=(0.01, 0.005))
        write_run(
            root, "adaptive_100%", seed, accuracies=(0.5, 0.8995), epoch_seconds=5, batches=(10, 20), rates=(0.01, 0.01)
        )
    return root


def twelve_arms(root: Path) -> Path:
    """Twelve arms with long names and three seeds; one is refused, one in its seconds only, and one failed."""
    names = [
        "growing_twice_every_four_epochs",
        "growing_four_times_every_four_epochs",
        "growing_late_twice_every_eight_epochs",
        "growing_early_twice_every_two_epochs",
        "fixed_at_the_second_batch_of_the_growing_arm",
        "fixed_at_the_third_batch_of_the_growing_arm",
        "fixed_large_with_linear_scaling",
        "growing_with_a_cap_at_eighty_samples",
        "adaptive_by_the_gradient_noise_scale",
    ]
    plans = [
        batches_of(10, 2), batches_of(10, 4), batches_of(10, 2, 8), batches_of(10, 2, 2), batches_of(20),
        batches_of(40), batches_of(100), [min(80, size) for size in batches_of(10, 2, 2)], batches_of(10, 5, 6),
    ]  # fmt: skip
    finals = [0.961, 0.957, 0.962, 0.948, 0.960, 0.952, 0.93, 0.955, 0.959]
    write_arm(root, "fixed", batches_of(10), 0.962, range(3), meta={"num_threads": 1}, launch={"forecast": FORECAST})
    for name, batches, final in zip(names, plans, finals, strict=True):
        other = {"num_threads": 2} if name.startswith("fixed_at_the_third") else {"num_threads": 1}
        write_arm(root, name, batches, final, range(3), meta=other)
    other_optimizer: Any = {"changes": {"optimizer.nesterov": True}, "meta": {"num_threads": 1}}
    write_arm(root, "refused_for_its_nesterov_momentum", batches_of(20), 0.96, range(3), **other_optimizer)
    write_arm(root, "unstable_at_two_hundred_samples", batches_of(200), 0.5, range(2), meta={"num_threads": 1})
    broken: Any = {
        "accuracies": (0.2, 0.1),
        "batches": 200,
        "state": "failed",
        "cause": "NonFiniteLoss: epoch 3",
        "meta": {"num_threads": 1},
    }
    write_run(root, "unstable_at_two_hundred_samples", 2, changes={"num_epochs": NUM_EPOCHS}, **broken)
    return root


def grid_of_six(root: Path, seeds: Sequence[int] = range(3)) -> Path:
    """Three values of weight decay x two of momentum, with three arms."""
    arms = {"fixed": (batches_of(10), 0.96), "growing": (batches_of(10, 2), 0.958), "large": (batches_of(40), 0.94)}
    for place, (decay, momentum) in enumerate(itertools.product((0.0, 0.0005, 0.005), (0.8, 0.9))):
        swept = {"optimizer.weight_decay": decay, "optimizer.momentum": momentum}
        for arm, (batches, final) in arms.items():
            better = final - 0.004 * place * (arm == "large")
            write_arm(root, level(arm, swept), batches, better, seeds, **kind_of(swept))
    return root


def level(arm: str, swept: Mapping[str, object]) -> str:
    """Return the name of an arm's folder at a point of the grid."""
    return ",".join([arm, *(f"{key}={value}" for key, value in swept.items())])


def kind_of(swept: Mapping[str, object]) -> dict[str, Any]:
    """Return what runs at a point of the grid have besides: arguments of `tests.analysis.runs.write_run`."""
    return {"changes": swept, "baseline": level("fixed", swept), "launch": {"swept": dict(swept)}}


def imported(root: Path) -> Path:
    """Runs of another trainer, which logged no spans: three arms by three seeds, through ``import-csv``."""
    arms = {"small": batches_of(100), "growing": batches_of(100, 2), "large": batches_of(400)}
    table = root / "log.csv"
    root.mkdir(parents=True, exist_ok=True)
    with open(table, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["arm", "seed", "epoch", "batch_size", "learning_rate", "test_accuracy", "seconds_per_epoch"])
        for (arm, batches), seed in itertools.product(arms.items(), range(3)):
            source = random.Random(f"{arm} {seed}")
            curve = accuracies_of(0.93 if arm == "large" else 0.94, len(batches), source)
            for epoch, (size, accuracy) in enumerate(zip(batches, curve, strict=True), start=1):
                seconds = (1 + source.gauss(0, 0.005)) * 50_000 / size * (FIXED_SECONDS + size * SECONDS_PER_SAMPLE)
                writer.writerow([arm, seed, epoch, size, size / 1000, accuracy, round(seconds, 3)])
    words = ["dataset=cifar10", "network=resnet20", "samples_per_epoch=50000", "dataset.num_test_samples=10000"]
    command = ["import-csv", str(table), "-o", str(root / "runs"), "--trainer", "loop", "--baseline", "small"]
    assert main([*command, *(part for word in words for part in ("--set", word))]) == 0
    return root / "runs"


def on_a_gpu(root: Path, device_bytes: int = 2 << 30) -> Path:
    """Three arms on a GPU of 2 GiB, where B samples need 64 MiB + 8 MiB * B, and a MiB more with each seed."""
    gpu = {"device": "cuda", "device_model": "a GPU", "device_memory_bytes": device_bytes, "cuda_graphs": "yes"}
    plans = {"fixed": batches_of(10), "growing": batches_of(10, 4), "large": batches_of(160)}
    for arm, batches in plans.items():
        write_arm(root, arm, batches, 0.96, range(3), meta=gpu)
    for path in sorted(root.rglob("seed_*")):
        seed = int(path.name.removeprefix("seed_"))
        sizes = plans[path.parent.name]
        edit_epochs(path, "peak_memory_bytes", [(64 + 8 * size + seed) << 20 for size in sizes])
    return root


def thousand_runs(root: Path) -> Path:
    """Ten levels x five arms x twenty seeds."""
    plans = {
        "fixed": batches_of(10),
        "growing": batches_of(10, 2),
        "faster": batches_of(10, 4),
        "middle": batches_of(20),
        "large": batches_of(40),
    }
    for place in range(10):
        swept = {"optimizer.weight_decay": place / 10_000}
        for number, (arm, batches) in enumerate(plans.items()):
            write_arm(root, level(arm, swept), batches, 0.96 - 0.003 * number, range(20), **kind_of(swept))
    return root


#: By name what writes a sweep below a folder and returns where its runs are.
SWEEPS: Mapping[str, Callable[[Path], Path]] = {
    "twelve_arms": twelve_arms,
    "grid_of_six": grid_of_six,
    "imported": imported,
    "thousand_runs": thousand_runs,
}
