"""The notebook runs from top to bottom on a sweep that the test makes, and stays short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.runs import write_run

NOTEBOOK = Path(__file__).parents[2] / "analysis" / "notebook.ipynb"


@pytest.fixture
def cells() -> list[dict[str, Any]]:
    content: dict[str, Any] = json.loads(NOTEBOOK.read_text())
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_it_runs_on_any_sweep(tmp_path: Path) -> None:
    for seed in range(2):
        write_run(tmp_path / "runs", "fixed", seed, accuracies=(0.5, 0.9 + seed / 100), rates=(0.01, 0.005))
        write_run(tmp_path / "runs", "grown", seed, accuracies=(0.5, 0.8), batches=(10, 20), rates=(0.01, 0.01))
    environment = {**os.environ, "ADABATCH_RUNS": str(tmp_path / "runs"), "IPYTHONDIR": str(tmp_path / "ipython")}
    command = [sys.executable, "-m", "pytest", "--nbmake", "-q", "-W", "default", "-p", "no:cacheprovider"]
    result = subprocess.run([*command, str(NOTEBOOK)], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout


def test_it_is_short_and_computes_nothing_itself(cells: list[dict[str, Any]]) -> None:
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines() if line.strip()]
    assert len(lines) <= 60
    assert not any(word in line for line in lines for word in (".mean(", ".std(", "import numpy", "import scipy"))


def test_its_outputs_are_small_and_whole(cells: list[dict[str, Any]]) -> None:
    assert NOTEBOOK.stat().st_size < 400_000
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])
    assert sum(bool(cell["outputs"]) for cell in cells) >= 8
