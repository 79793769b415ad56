"""The notebook runs from top to bottom on a sweep that the test makes, and stays short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.analysis.runs import write_run
from tests.analysis.sweeps import grid_of_six, imported

NOTEBOOK = Path(__file__).parents[2] / "analysis" / "notebook.ipynb"


@pytest.fixture
def cells() -> list[dict[str, Any]]:
    content: dict[str, Any] = json.loads(NOTEBOOK.read_text())
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def two_arms(root: Path) -> Path:
    for seed in range(2):
        write_run(root, "fixed", seed, accuracies=(0.5, 0.9 + seed / 100), rates=(0.01, 0.005))
        write_run(root, "grown", seed, accuracies=(0.5, 0.8), batches=(10, 20), rates=(0.01, 0.01))
    return root


def unfinished(root: Path) -> Path:
    """One seed is done; the next one is still running, and of the last arm nothing is."""
    two_arms(root)
    write_run(root, "fixed", 2, accuracies=(0.5,), state="running", changes={"num_epochs": 2})
    write_run(root, "late", 0, accuracies=(0.5,), batches=40, state="running", changes={"num_epochs": 2})
    return root


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("write", [two_arms, unfinished, imported, grid_of_six])
def test_it_runs_on_any_sweep_by_changing_one_line(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    notebook = tmp_path / "mine.ipynb"
    text = NOTEBOOK.read_text()
    line = 'folder = \\"../runs/demo\\"'
    assert text.count(line) == 1
    notebook.write_text(text.replace(line, f'folder = \\"{write(tmp_path / "runs").as_posix()}\\"'))
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path / "ipython")}
    environment.pop("ADABATCH_RUNS", None)
    command = [sys.executable, "-m", "pytest", "--nbmake", "-q", "-W", "default", "-p", "no:cacheprovider"]
    result = subprocess.run([*command, str(notebook)], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 passed" in result.stdout


def test_it_opens_with_the_verdict(cells: list[dict[str, Any]]) -> None:
    assert len(cells[0]["source"]) == 1, "the line to change stands alone"
    [first] = cells[1]["outputs"]
    assert "Verdicts" in "".join(first["data"]["text/html"])


def test_it_is_short_and_computes_nothing_itself(cells: list[dict[str, Any]]) -> None:
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines() if line.strip()]
    assert len(lines) <= 50
    assert not any(word in line for line in lines for word in (".mean(", ".std(", "import numpy", "import scipy"))


def test_its_outputs_are_small_and_whole(cells: list[dict[str, Any]]) -> None:
    assert NOTEBOOK.stat().st_size < 700_000
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])
    assert sum(bool(cell["outputs"]) for cell in cells) >= 12
