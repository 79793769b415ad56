"""The Python on the pages runs, and gives what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

import analysis
from tests.snippets import run_snippets


@pytest.mark.slow
def test_the_page_of_own_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_snippets("own_loop.md")
    data = analysis.load("runs/mine")
    assert data.runs.state.tolist() == ["done"] * 4
    assert data.runs.final_recall.notna().all()
    assert analysis.compare(data).matching.refused.empty
