"""The pages do what they say: their files are written, and their commands and their Python run, in order."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import analysis
from adabatch.files import SOURCE_DIR
from tests.snippets import run_snippets
from tests.warm_python import warm_folder

pytestmark = pytest.mark.slow

PAGES = ("tutorial", "own_network", "own_data", "own_optimizer", "own_schedule", "own_tracker", "own_metric")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# (\S+\.(?:py|yaml))\n")


def write_pets(folder: Path) -> None:
    """Write the folder of images that a page takes for granted: three of each class and split."""
    noise = np.random.default_rng(0)
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (folder / "pets" / place).mkdir(parents=True)
        for number in range(3):
            pixels = noise.integers(0, 256, (12, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pets" / place / f"{number}.png")


@pytest.mark.long
@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_as_it_is_written(page: str, tmp_path: Path) -> None:
    write_pets(tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{warm_folder()}:{os.environ['PATH']}"}
    commands = 0
    for language, text in _BLOCK.findall((SOURCE_DIR / "docs" / f"{page}.md").read_text(encoding="utf-8")):
        name = _FILE_NAME.match(text)
        if name:
            file = tmp_path / name.group(1)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif language == "bash":
            command = ["bash", "-e", "-c", text]
            answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
            assert answer.returncode == 0, f"{text}\n{answer.stdout}{answer.stderr}"
            commands += 1
    assert commands


def test_the_page_of_own_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_snippets("own_loop.md")
    data = analysis.load("runs/mine")
    assert data.runs.state.tolist() == ["done"] * 4
    assert data.runs.final_recall.notna().all()
    assert analysis.compare(data).matching.refused.empty
