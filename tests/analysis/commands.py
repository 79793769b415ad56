"""The commands of analysis, called within the process of the test."""

from __future__ import annotations

import pytest

from analysis.cli import main


def run(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> str:
    """Return what a command prints, or its message where it refuses (status 2)."""
    assert main([str(word) for word in words]) == status
    captured = capsys.readouterr()
    return captured.err if status == 2 else captured.out
