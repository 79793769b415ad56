"""The checks of `gpu_check`: each trains a little, and returns its numbers, or raises `CheckFailed` with them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from adabatch.errors import EXIT_FAILED, ConfigError
from adabatch.reading import read_json
from adabatch.run import run_config
from adabatch.rundir.files import RunDir
from adabatch.rundir.outcome import read_summary
from adabatch.tools.verify_resume import verify
from benchmarks.gpu_check_runs import (
    CheckFailed,
    Place,
    cause_of,
    compared,
    graphs_of,
    replayed_epochs,
    require_graphs,
    rows_of,
)

#: What rounding makes of two runs of some dozens of updates: in fp32 with equal kernels, and in bf16 or with others.
FINE, COARSE = 1e-3, 2e-2
#: The paper's five stages, on less data.
PAPER_STAGES = (
    "schedule.batch_size=128", "schedule.every_epochs=1", "num_epochs=5", "dataset.num_train_samples=8192",
)  # fmt: skip
MOST_GROWTH_SECONDS = 5.0
#: By how much graphs may differ from eager runs, in differences between two eager runs.
_MOST_SPREADS = 3.0
#: Memory with graphs over memory without, for the same run.
MOST_MEMORY = 3.0
_GIBIBYTE = 1 << 30
#: Of growth's predicted seconds with graphs, what growth without them takes at least.
_LEAST_SHARE_OF_SEARCH = 0.4
#: Of the GPU's memory: too little for a batch of 2,048.
_LITTLE_MEMORY = 0.02
_NUM_KILLS = 2
_EQUAL = ("hardware.deterministic=true",)
_SWEEP = """\
name: gpu_check
overrides: [dataset=synthetic, network=resnet20, dataset.num_train_samples=16384, dataset.num_test_samples=1024,
  num_epochs=5, schedule.every_epochs=1, hardware.precision=bf16]
seeds: [0]
baseline: fixed
arms:
  fixed: [schedule=fixed, schedule.batch_size=128]
  adaptive: [schedule=adabatch, schedule.batch_size=128]
"""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        run: returns the numbers as text.
        is_timed: whether nothing else may run at the same time.
        has_children: whether all its training is done by processes that it starts.
    """

    name: str
    run: Callable[[Place], str]
    is_timed: bool = False
    has_children: bool = False


def graphs_equal_eager(place: Place, name: str, words: tuple[str, ...], tolerance: float) -> str:
    """Check that a run with CUDA graphs ends as one without them."""
    eager = place.train(f"{name}-eager", *words, "hardware.cuda_graphs=false")
    replayed = place.train(f"{name}-graphs", *words)
    return _replayed_text(replayed, compared(eager, replayed).within(tolerance))


def _replayed_text(run_dir: RunDir, text: str) -> str:
    """Return ``text`` with the number of epochs that a run replayed.

    Raises:
        CheckFailed: if there are none.
    """
    require_graphs(run_dir)
    epochs = replayed_epochs(run_dir)
    text = f"{text}, {epochs} of {len(rows_of(run_dir))} epochs replayed"
    if not epochs:
        raise CheckFailed(text)
    return text


def searched_kernels_equal_eager(place: Place) -> str:
    """Check that graphs of searched kernels, which add in any order, differ no more than eager runs do."""
    words = ("hardware.deterministic=false",)
    eager, again = (place.train(f"searched-eager-{k}", *words, "hardware.cuda_graphs=false") for k in (1, 2))
    replayed = place.train("searched-graphs", *words)
    spread = compared(eager, again)
    tolerance = max(COARSE, _MOST_SPREADS * max(spread.losses, spread.weights))
    return f"{_replayed_text(replayed, compared(eager, replayed).within(tolerance))}; two eager runs: {spread}"


def compiled_equals_eager(place: Place) -> str:
    """Check that a compiled network inside the graphs trains as the uncompiled one without graphs."""
    words = ("network=tiny_cnn", "schedule=fixed", "schedule.batch_size=256", "num_epochs=2")
    eager = place.train("compile-eager", *words, "hardware.cuda_graphs=false")
    compiled = place.train("compile-graphs", *words, "hardware.compile=true")
    require_graphs(compiled)
    return compared(eager, compiled).within(COARSE)


def falls_back(place: Place) -> str:
    """Check that a network that waits for the device is trained without graphs, and that its run says so."""
    run_dir = place.train("falls-back", "network=benchmarks.gpu_networks:LooksAtValues")
    said = graphs_of(run_dir)
    if not said.startswith("no: the network waits"):
        raise CheckFailed(f"meta.json has cuda_graphs: {said}; it must say that the network waits for values")
    if "CUDA graphs are not used: the network waits" not in run_dir.log.read_text(encoding="utf-8"):
        raise CheckFailed("log.txt does not say that CUDA graphs are not used")
    return f"cuda_graphs: {said}"


def finds_non_finite_loss(place: Place) -> str:
    """Check that a run whose loss becomes infinite fails by that."""
    return _fails_by(place, "NonFiniteLoss", "non-finite", "optimizer.learning_rate=1e30")


def names_out_of_memory(place: Place) -> str:
    """Check that a batch that does not fit is named as such, in one sentence."""
    with _little_memory():
        return _fails_by(
            place, "OutOfMemory", "out-of-memory", "schedule.batch_size=2048", "dataset.num_train_samples=4096"
        )


def _fails_by(place: Place, cause: str, name: str, *words: str) -> str:
    said = cause_of(place.train(name, *words, status=EXIT_FAILED))
    if not said.startswith(f"{cause}: ") or "process" in said or "\n" in said:
        raise CheckFailed(f"the cause is {said}; it must be {cause} and a sentence")
    return said


@contextmanager
def _little_memory() -> Iterator[None]:
    if not torch.cuda.is_available():
        yield
        return
    torch.cuda.set_per_process_memory_fraction(_LITTLE_MEMORY)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def refuses_devices_that_are_not_there(place: Place) -> str:
    """Check that one rank more than there are GPUs is refused by the right key, and that nothing is started."""
    count = torch.cuda.device_count() + 1
    config = place.config("too-many", f"hardware.num_devices={count}")
    try:
        status = run_config(config)
    except ConfigError as error:
        if f"hardware.num_devices is {count}" not in str(error):
            raise CheckFailed(f"another key is blamed: {error}") from error
        if (place.folder / "too-many").exists():
            raise CheckFailed(f"the run directory was made before this was said: {error}") from error
        return str(error)
    raise CheckFailed(f"{count} ranks were started, and ended with status {status}")


def resumes_exactly(place: Place) -> str:
    """Check that a run with dropout that is killed ends, bit for bit, as one that is not."""
    config = place.config(
        "resume", "network=alexnet", "hardware.deterministic=true", "num_epochs=30", "schedule.every_epochs=10",
        "dataset.num_train_samples=8192", "checkpoint.every_epochs=1",
    )  # fmt: skip
    verdict = verify(config, place.folder / "resume", _NUM_KILLS, random.Random(0))
    text = f"{verdict.kills} kills, {len(verdict.differences)} differences"
    if verdict.differences:
        raise CheckFailed(f"{text}: {'; '.join(verdict.differences[:3])}")
    require_graphs(RunDir(place.folder / "resume" / "whole"))
    return text


def growth_costs_little(place: Place, most_seconds: float = MOST_GROWTH_SECONDS) -> str:
    """Check what the paper's five stages cost for being five, in processes that have searched no kernels yet."""
    texts, worst = [], 0.0
    for precision in ("fp32", "bf16"):
        rows = rows_of(place.train_in_child(f"growth-{precision}", *PAPER_STAGES, f"hardware.precision={precision}"))
        seconds = [row.growth_seconds for row in rows]
        worst = max(worst, sum(seconds))
        stages = " + ".join(f"{one:.2f}" for one in seconds)
        texts.append(f"{precision} {sum(seconds):.2f} s ({stages})")
    text = f"{', '.join(texts)} for batches of {' '.join(str(row.batch_size) for row in rows)}"
    if worst > most_seconds:
        raise CheckFailed(f"{text}; at most {most_seconds:g} s are wanted")
    return text


def memory_is_bounded(place: Place) -> str:
    """Check how much memory a growing run reserves at most, with and without graphs."""
    eager = _peak_bytes(place, "memory-eager", "hardware.cuda_graphs=false")
    replayed = _peak_bytes(place, "memory-graphs")
    ratio = replayed / eager
    text = f"{replayed / _GIBIBYTE:.2f} GiB with graphs, {eager / _GIBIBYTE:.2f} GiB without: {ratio:.2f} times"
    if ratio > MOST_MEMORY:
        raise CheckFailed(f"{text}; at most {MOST_MEMORY:g} times are wanted")
    return text


def _peak_bytes(place: Place, name: str, *words: str) -> int:
    """Return the largest value that a growing run's rows tell; none may be blank."""
    return max(_bytes_by_epoch(place.train(name, *PAPER_STAGES, *words)))


def _bytes_by_epoch(run_dir: RunDir) -> list[int]:
    found = [row.peak_memory_bytes or 0 for row in rows_of(run_dir)]
    if not all(value > 0 for value in found):  # a blank cell is read as NaN
        raise CheckFailed(f"peak_memory_bytes of {run_dir.path.name} is {found}; it must be more than 0 in every epoch")
    return found


def memory_is_recorded(place: Place) -> str:
    """Check what the rows of a growing run tell of the GPU's memory."""
    run_dir = place.train("memory-recorded", *PAPER_STAGES)
    return compared_with_memory(run_dir, torch.cuda.get_device_properties(0).total_memory)


def compared_with_memory(run_dir: RunDir, device_bytes: int) -> str:
    """Return the memory that a run tells by epoch.

    Raises:
        CheckFailed: unless it is largest at the largest batch, is in the GPU's ``device_bytes``, and is the same in
            all files.
    """
    found, batches = _bytes_by_epoch(run_dir), [row.batch_size for row in rows_of(run_dir)]
    shown = " ".join(f"{value / _GIBIBYTE:.3f}" for value in found)
    text = f"{shown} GiB of {device_bytes / _GIBIBYTE:.1f} for batches of {' '.join(map(str, batches))}"
    if not found[0] < found[-1] == max(found):
        raise CheckFailed(f"{text}; it must grow with the batch")
    if found[-1] > device_bytes:
        raise CheckFailed(f"{text}; it must be at most what the GPU has")
    told = read_json(run_dir.meta)["device_memory_bytes"], read_summary(run_dir)["peak_memory_bytes"]
    if told != (device_bytes, found[-1]):
        raise CheckFailed(f"{text}; meta.json and summary.json tell {told[0]} and {told[1]} bytes")
    return text


def sweeps_with_forecast(place: Place) -> str:
    """Check that a sweep is forecast, trained and put into tables; tell the forecast beside what was measured."""
    options = place.folder / "options" / "sweep"
    options.mkdir(parents=True)
    (options / "gpu_check.yaml").write_text(_SWEEP, encoding="utf-8")
    words = ("sweep=gpu_check", "--config-dir", "options", "cluster=local", "--forecast", *place.words)
    place.command("launch", "submit", *words, XDG_CACHE_HOME=str(place.folder / "cache"))
    folder = place.folder / "runs" / "gpu_check"
    tables = place.command("analysis", "tables", str(folder))
    if "adaptive" not in tables:
        raise CheckFailed("the tables lack the arm adaptive")
    runs = [RunDir(meta.parent) for meta in sorted(folder.rglob("meta.json"))]
    return ", ".join(map(_beside_forecast, runs))


def _beside_forecast(run_dir: RunDir) -> str:
    launched = read_json(run_dir.meta)["launch"]
    known = launched["forecast"]
    measured = read_summary(run_dir)["elapsed_seconds"]
    text = (
        f"{launched['arm']} {measured:.2f} s (predicted {known['train_seconds'] + known['growth_seconds']:.2f}, of it "
        f"growth {known['growth_seconds']:.2f}"
    )
    other = known["counterpart"]
    if other is None:
        return f"{text})"
    text = f"{text}; without graphs growth {other['growth_seconds']:.2f})"
    # Nearly all of it is the search of kernels, which is the same with graphs and without.
    if other["growth_seconds"] < _LEAST_SHARE_OF_SEARCH * known["growth_seconds"]:
        raise CheckFailed(f"{text}; both must hold the search of kernels")
    return text


def _equality(name: str, *words: str, tolerance: float = FINE) -> Check:
    check = partial(graphs_equal_eager, name=name.replace(" ", "-"), words=(*_EQUAL, *words), tolerance=tolerance)
    return Check(f"graphs equal eager: {name}", check)


CHECKS = (
    Check("a killed run ends bit for bit as a whole one", resumes_exactly, has_children=True),
    _equality("SGD"),
    _equality("AdamW", "optimizer=adamw", "optimizer.learning_rate=0.001"),
    _equality("accumulation", "max_micro_batch_size=48"),
    _equality("dropout", "network=alexnet"),
    _equality("ghost BatchNorm", "batch_norm=ghost", "ghost_batch_size=16"),
    _equality("bf16", "hardware.precision=bf16", tolerance=COARSE),
    Check("graphs equal eager: searched kernels", searched_kernels_equal_eager),
    Check("compiled inside the graph equals eager", compiled_equals_eager),
    Check("a network that calls .item() is trained without graphs", falls_back),
    Check("a non-finite loss is found", finds_non_finite_loss),
    Check("out of memory is named", names_out_of_memory),
    Check("more ranks than GPUs are refused", refuses_devices_that_are_not_there),
    Check("growth", growth_costs_little, is_timed=True),
    Check("memory", memory_is_bounded, is_timed=True),
    Check("memory is recorded by epoch", memory_is_recorded, is_timed=True),
    Check("a sweep with forecast", sweeps_with_forecast, is_timed=True),
)
