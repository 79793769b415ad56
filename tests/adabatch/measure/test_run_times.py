"""The times that a forecast is made of are those of a process as a run begins it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from adabatch.config import TrainConfig
from adabatch.config.compose import compose
from adabatch.measure import run_times
from adabatch.measure.times import Measurement, MicroBatchTime
from tests.adabatch.support import TINY, not_none

pytestmark = pytest.mark.slow


def _used_here(*_: object) -> None:
    raise AssertionError("micro-batches are computed in this process")


def test_where_kernels_are_searched_each_measurement_has_its_own_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    config = compose([*TINY, "schedule.batch_size=8"])
    monkeypatch.setattr(run_times, "searches_kernels", lambda _: True)
    monkeypatch.setattr(run_times, "Probe", _used_here)  # a process of its own imports the real one
    found = run_times.measure_sizes([config], torch.device("cpu"))
    assert 8 in [row.micro_batch_size for row in found.rows]
    assert all(row.seconds > 0 for row in found.rows)


def test_elsewhere_this_process_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(run_times, "Probe", _used_here)
    with pytest.raises(AssertionError, match="in this process"):
        run_times.measure_sizes([compose([*TINY, "schedule.batch_size=8"])], torch.device("cpu"))


class _Card:
    """Stands for a GPU: what its processes measure, in the order in which they are asked."""

    def __init__(self, *growths: tuple[float, ...]) -> None:
        self.asked: list[object] = []
        self._growths = list(growths)

    def probe(self, config: TrainConfig, _: torch.device, sizes: Sequence[int]) -> Measurement:
        uses_graphs = config.hardware.cuda_graphs
        self.asked.append(uses_graphs)
        growths = self._growths.pop(0)
        rows = tuple(
            MicroBatchTime(size, 0.0, 0.001, 0.002, 0.001, 0.003, growth_seconds=growth, first_seconds=0.0)
            for size, growth in zip(sizes, growths, strict=True)
        )
        return Measurement(rows, 0.0, None, "a card", "2026-11-27T00:00:00Z", uses_graphs=uses_graphs is True)


@pytest.fixture
def on_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[_Card, str], Measurement]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("adabatch.measure.cache.device_model", lambda _: "a card")
    monkeypatch.setattr("adabatch.measure.cache.gpu_versions", dict)

    def measure(card: _Card, word: str) -> Measurement:
        monkeypatch.setattr(run_times, "_probe", card.probe)
        words = ("schedule=adabatch", "schedule.batch_size=8", "schedule.max_batch_size=16", "hardware.device=cuda")
        config = compose([*TINY, *words, word, "dataset.num_train_samples=16"])
        return run_times.measure_sizes([config], torch.device("cuda", 0))

    return measure


@pytest.mark.parametrize("wanted", ["auto", "false"])
def test_what_a_machines_first_process_reads_is_not_charged_to_eager_runs(
    on_a_card: Callable[[_Card, str], Measurement], wanted: str
) -> None:
    card = _Card((7.5, 0.9), (1.5, 1.0))
    found = on_a_card(card, f"hardware.cuda_graphs={wanted}")
    assert card.asked == [False, True]
    assert found.uses_graphs is (wanted == "auto")
    graphs, eager = (found, found.counterpart) if found.uses_graphs else (found.counterpart, found)
    assert [row.growth_seconds for row in not_none(graphs).rows] == [1.5, 1.0]
    assert [row.growth_seconds for row in not_none(eager).rows] == [1.5, 0.9]


def test_what_is_compiled_for_graphs_is_not_timed_without_them(
    on_a_card: Callable[[_Card, str], Measurement],
) -> None:
    card = _Card((30.0, 9.0))
    found = on_a_card(card, "hardware.compile=reduce-overhead")
    assert card.asked == ["auto"]
    assert found.counterpart is None
    assert [row.growth_seconds for row in found.rows] == [30.0, 9.0]
