"""The times that a forecast is made of are those of a process as a run begins it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from adabatch.config.compose import compose
from adabatch.measure import run_times
from tests.adabatch.support import TINY

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
