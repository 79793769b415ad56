"""Asks git about a folder."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PATIENCE_SECONDS = 20


def git(folder: Path, *arguments: str) -> str | None:
    """Return what a git command prints in a folder; None if it refuses, takes too long, or git is not there."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
