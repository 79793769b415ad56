"""Run directories with numbers that can be checked by hand."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from adabatch.config import to_dict
from adabatch.config.compose import compose
from adabatch.rundir.columns import COLUMNS

SAMPLES = 1000


@functools.cache
def _config(overrides: tuple[str, ...]) -> str:
    return json.dumps(to_dict(compose(list(overrides))))


def config(*overrides: str) -> dict[str, Any]:
    """A real config of a small network on digits."""
    values: dict[str, Any] = json.loads(_config(("dataset=digits", "network=tiny_cnn", *overrides)))
    return values


def write_run(
    root: Path,
    arm: str = "fixed",
    seed: int = 0,
    *,
    accuracies: Sequence[float] = (0.5, 0.9),
    epoch_seconds: float | Sequence[float] = 10.0,
    batches: Sequence[int] | int = 10,
    rates: Sequence[float] | None = None,
    spans: Mapping[str, float] | None = None,
    state: str = "done",
    cause: str | None = None,
    baseline: str | None = "fixed",
    overrides: Sequence[str] = (),
    meta: Mapping[str, Any] | None = None,
    launch: Mapping[str, Any] | None = None,
    cell: str = "digits-tiny_cnn",
    changes: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Path:
    """Write one run of ``len(accuracies)`` epochs of 1,000 samples.

    Args:
        epoch_seconds: training seconds by epoch, in equal parts data, forward, backward and update unless ``spans``
            gives each span's share.
        batches: batch size by epoch; updates are 1,000 / batch size.
        rates: learning rate by epoch; batch size / 1,000 by default, so that the rate per sample is equal.
        changes: config keys, dotted, set after composing.
    """
    path = root / cell / arm / (name or f"seed_{seed}")
    path.mkdir(parents=True)
    count = len(accuracies)
    sizes = [batches] * count if isinstance(batches, int) else list(batches)
    seconds = [float(epoch_seconds)] * count if isinstance(epoch_seconds, int | float) else list(epoch_seconds)
    rates = [size / 1000 for size in sizes] if rates is None else rates
    values = config(f"num_epochs={max(count, 1)}", *overrides)
    values["seed"] = seed
    for key, value in (changes or {}).items():
        group, _, rest = key.rpartition(".")
        (values[group] if group else values)[rest] = value
    (path / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    origin = {
        "adabatch_version": "0.2.0",
        "python": "3.11.7",
        "torchvision": "0.29.1",
        "git_sha": "a" * 40,
        "git_dirty": False,
        "torch": "2.14.1",
        "device_model": "a processor",
        "device": "cpu",
    }
    about = {"sweep": "hand", "arm": arm, "cell": cell, "baseline": baseline, "swept": {}, **(launch or {})}
    (path / "meta.json").write_text(json.dumps({**origin, **(meta or {}), "launch": about}))
    shares = spans or {"data": 0.25, "forward": 0.25, "backward": 0.25, "update": 0.25}
    write_epochs(path / "epochs.csv", accuracies, seconds, sizes, rates, shares, test_loss=1.0 + seed / 128)
    (path / "summary.json").write_text(json.dumps({"state": state, "cause": cause}))
    if state == "done":
        (path / "DONE").write_text("done\n")
    elif state == "failed":
        (path / "FAILED").write_text(f"{cause}\n\nTraceback ...\n")
    return path


def write_epochs(
    path: Path,
    accuracies: Sequence[float],
    seconds: Sequence[float],
    sizes: Sequence[int],
    rates: Sequence[float],
    shares: Mapping[str, float],
    test_loss: float = 1.0,
) -> None:
    elapsed, updates, rows = 0.0, 0, []
    for place, accuracy in enumerate(accuracies):
        parts = {f"{span}_seconds": share * seconds[place] for span, share in shares.items()}
        training = sum(value for key, value in parts.items() if key not in ("growth_seconds", "test_seconds"))
        elapsed += training + parts.get("growth_seconds", 0.0)
        updates += SAMPLES // sizes[place]
        row = dict.fromkeys(COLUMNS, 0.0) | {
            "epoch": place + 1,
            "updates": updates,
            "samples": SAMPLES * (place + 1),
            "batch_size": sizes[place],
            "micro_batch_size": sizes[place],
            "accumulation_steps": 1,
            "world_size": 1,
            "learning_rate": rates[place],
            "test_accuracy": accuracy,
            "test_loss": test_loss,
            "train_seconds": training,
            "elapsed_seconds": elapsed,
            "test_seconds": 1.0,
            "test_top5_accuracy": "",
            "samples_dropped": 0,
            "device_seconds": "",
            "peak_memory_bytes": "",
            **parts,
        }
        rows.append([row[column] for column in COLUMNS])
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])


def edit_epochs(run: Path, column: str, values: Sequence[Any]) -> None:
    """Replace a column of a run's ``epochs.csv``."""
    frame = pd.read_csv(run / "epochs.csv").astype({column: object})
    frame[column] = list(values)
    frame.to_csv(run / "epochs.csv", index=False, lineterminator="\n")
