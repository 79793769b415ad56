"""The pages about one's own work do what they say: their files are written, and their commands run, in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adabatch.files import SOURCE_DIR

PAGES = [SOURCE_DIR / "docs" / f"own_{name}.md" for name in ("network", "optimizer", "schedule")]
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"# (\S+\.(?:py|yaml))\n")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return the language and the text of each fenced block of a page."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_works_as_it_is_written(page: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    ran = 0
    for language, text in blocks(page):
        name = _FILE_NAME.match(text)
        if name:
            file = tmp_path / name.group(1)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif language in ("bash", "python"):
            command = ["bash", "-e", "-c", text] if language == "bash" else [sys.executable, "-c", text]
            answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
            assert answer.returncode == 0, f"{text}\n{answer.stdout}{answer.stderr}"
            ran += 1
    assert ran
