"""The checks of `gpu_check` on a CPU: graphs are stood for by running what they would record."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adabatch.files import write_json_atomic
from adabatch.reading import read_json
from adabatch.rundir.columns import read_epochs_csv, write_epochs_csv
from benchmarks import gpu_checks
from benchmarks.gpu_check import main, run_checks
from benchmarks.gpu_check_runs import CheckFailed, Place
from benchmarks.gpu_checks import Check
from tests.adabatch.training.recorders import EagerRecorder, RefusingRecorder

#: 8 + 4 + 2 updates of 8 x 8 pixels.
ON_CPU = (
    "hardware=cpu",
    "hardware.num_threads=1",
    "dataset.num_train_samples=64",
    "dataset.num_test_samples=16",
    "dataset.image_size=8",
    "dataset.num_channels=1",
    "schedule.batch_size=8",
)


class TwiceRecorder(EagerRecorder):
    """Runs at each replay twice what was recorded, as a graph would that was also run while it was recorded."""

    def record(self, run: Callable[[], None]) -> Callable[[], None]:
        replay = super().record(run)

        def twice() -> None:
            replay()
            replay()

        return twice


def use(recorder: EagerRecorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adabatch.training.engine.why_no_graphs", lambda config, *_: _unless_unwanted(config))
    monkeypatch.setattr("adabatch.training.engine.make_recorder", lambda _: recorder)


def _unless_unwanted(config: object) -> str | None:
    return "" if config.hardware.cuda_graphs is False else None  # type: ignore[attr-defined]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, ON_CPU)


def check(name: str) -> Check:
    (found,) = [check for check in gpu_checks.CHECKS if check.name.endswith(name)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["equal eager: SGD", "accumulation", "dropout"])
def test_runs_with_graphs_are_compared_with_eager_ones(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    use(EagerRecorder(), monkeypatch)
    text = check(name).run(place)
    assert "after 14 updates, 3 of 3 epochs replayed" in text


@pytest.mark.slow
def test_graphs_that_compute_something_else_are_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    use(TwiceRecorder(), monkeypatch)
    with pytest.raises(CheckFailed, match="at most 1e-03 is rounding"):
        check("equal eager: SGD").run(place)


@pytest.mark.slow
def test_a_run_without_graphs_is_no_proof_of_them(place: Place) -> None:
    with pytest.raises(CheckFailed, match=r"has cuda_graphs: no; it must be yes"):
        check("equal eager: SGD").run(place)


@pytest.mark.slow
def test_a_network_that_looks_at_values_falls_back(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    use(RefusingRecorder(), monkeypatch)
    assert check("without graphs").run(place).startswith("cuda_graphs: no: the network waits for values")
    use(EagerRecorder(), monkeypatch)
    with pytest.raises(CheckFailed, match="has cuda_graphs: yes"):
        check("without graphs").run(Place(place.folder / "again", ON_CPU))


@pytest.mark.slow
def test_a_non_finite_loss_must_be_found(place: Place) -> None:
    assert check("loss is found").run(place).startswith("NonFiniteLoss: ")
    with pytest.raises(CheckFailed, match="exit status 0, not 1"):
        check("memory is named").run(place)


def test_more_ranks_than_gpus_must_be_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    text = check("are refused").run(Place(tmp_path))
    assert text.startswith("hardware.num_devices is 2; it must be at most 1")


@pytest.mark.slow
def test_growth_has_a_limit(place: Place) -> None:
    fast = Place(place.folder, (*ON_CPU, "hardware.precision=fp32"))  # bf16 is slow on most CPUs
    text = gpu_checks.growth_costs_little(fast)
    assert text.startswith("fp32 0.")
    assert text.endswith("for batches of 8 16 32 64 64")
    with pytest.raises(CheckFailed, match="at most -1 s are wanted"):
        gpu_checks.growth_costs_little(fast, most_seconds=-1)


@pytest.mark.slow
def test_memory_must_be_recorded(place: Place) -> None:
    """On a CPU it is blank; so numbers are filled in by hand: of batches 8, 16, 32, 64 and 64."""
    with pytest.raises(CheckFailed, match="must be more than 0 in every epoch"):
        check("memory").run(place)
    run_dir = place.train("filled-in", *gpu_checks.PAPER_STAGES)
    gibibyte = 1 << 30

    def fill_in(by_epoch: list[int], device: int = 8) -> str:
        rows, _ = read_epochs_csv(run_dir.epochs)
        filled = [replace(row, peak_memory_bytes=one * gibibyte) for row, one in zip(rows, by_epoch, strict=True)]
        write_epochs_csv(run_dir.epochs, filled)
        write_json_atomic(run_dir.meta, read_json(run_dir.meta) | {"device_memory_bytes": device * gibibyte})
        write_json_atomic(run_dir.summary, read_json(run_dir.summary) | {"peak_memory_bytes": 5 * gibibyte})
        return gpu_checks.compared_with_memory(run_dir, 8 * gibibyte)

    text = fill_in([1, 2, 3, 5, 5])
    assert text == "1.000 2.000 3.000 5.000 5.000 GiB of 8.0 for batches of 8 16 32 64 64"
    with pytest.raises(CheckFailed, match="must grow"):
        fill_in([5, 5, 5, 5, 5])
    with pytest.raises(CheckFailed, match="must grow"):
        fill_in([1, 2, 6, 5, 5])
    with pytest.raises(CheckFailed, match="at most what the GPU has"):
        fill_in([1, 2, 3, 5, 9])
    with pytest.raises(CheckFailed, match="tell 8589934592 and 5368709120 bytes"):
        fill_in([1, 2, 3, 4, 4])
    with pytest.raises(CheckFailed, match="tell 10737418240 and"):
        fill_in([1, 2, 3, 4, 5], device=10)


@pytest.mark.slow
@pytest.mark.bench
def test_a_killed_run_must_end_like_a_whole_one(place: Place) -> None:
    """On a CPU it does, but not with graphs, and the check says so."""
    with pytest.raises(CheckFailed, match="meta.json of whole has cuda_graphs: no; it must be yes"):
        check("as a whole one").run(Place(place.folder, (*ON_CPU, "num_epochs=6")))


@pytest.mark.slow
@pytest.mark.bench
def test_a_sweep_is_forecast_and_tabulated(place: Place) -> None:
    text = check("a sweep with forecast").run(Place(place.folder, (*ON_CPU, "network=tiny_cnn", "num_epochs=2")))
    assert "adaptive " in text
    assert text.count("(predicted ") == 2


def test_checks_side_by_side_compose_their_configs_in_turn(place: Place) -> None:
    with ThreadPoolExecutor(max_workers=4) as pool:
        configs = list(pool.map(place.config, map(str, range(8))))
    assert [config.run_dir for config in configs] == [str(place.folder / str(number)) for number in range(8)]


def test_every_check_has_a_line_and_one_that_fails_stops_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(place: Place) -> str:
        raise CheckFailed("2 is not\n1")

    def breaks(place: Place) -> str:
        raise ZeroDivisionError("by zero")

    checks = [
        Check("good", lambda place: "1", is_timed=True),
        Check("bad", fails, has_children=True),
        Check("broken", breaks),
    ]
    assert run_checks(checks, Place(tmp_path)) == 1
    lines = [line.rpartition(" (")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == ["FAILED  broken: ZeroDivisionError: by zero", "FAILED  bad: 2 is not 1", "ok      good: 1"]
    assert "in breaks" in (tmp_path / "tracebacks.txt").read_text()
    assert run_checks(checks[:1], Place(tmp_path)) == 0
    assert "1 of 1 checks are ok" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "torch finds no GPU here" in capsys.readouterr().err
