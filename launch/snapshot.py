"""What a submission ran: the resolved sweep, and the code with its uncommitted changes."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from adabatch.files import SOURCE_DIR, write_text_atomic
from adabatch.rundir.journal import Journal
from adabatch.rundir.provenance import code_version
from launch.config import SweepConfig
from launch.expand import Expansion

_LARGEST_DIFF_BYTES = 10_000_000


def write_sweep(expansion: Expansion, call_overrides: list[str]) -> None:
    """Write ``sweep.yaml``: the resolved sweep, including the overrides of the call."""
    values = declaration(expansion.sweep, call_overrides)
    write_text_atomic(expansion.folder / "sweep.yaml", yaml.safe_dump(values, sort_keys=False))


def declaration(sweep: SweepConfig, call_overrides: list[str]) -> dict[str, Any]:
    """Return what a sweep declares before it runs: the runs, and what they are judged by."""
    return {**asdict(sweep), "overrides": [*sweep.overrides, *call_overrides]}


def snapshot_code(journal: Journal) -> dict[str, Any]:
    """Save the diff to the last commit in the sweep's folder; return version, commit and the diff's file name."""
    version = code_version()
    diff = _uncommitted(SOURCE_DIR) if version["git_sha"] else None
    version["git_dirty"] = None if diff is None else bool(diff)
    if not diff:
        return {**version, "git_diff": None}
    name = f"git_{hashlib.sha256(diff.encode()).hexdigest()[:12]}.diff"
    if not (journal.folder / name).exists():
        write_text_atomic(journal.folder / name, diff)
    return {**version, "git_diff": name}


def _uncommitted(root: Path) -> str | None:
    """Return the changes since the last commit, new files included; None if git does not tell."""
    diff = _git(root, "diff", "HEAD", "--binary")
    added = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", "adabatch", "launch", "conf")
    if diff is None or added is None:
        return None
    for name in filter(None, added.split("\0")):
        # git exits with 1 for an untracked file: the files differ.
        new = _git(root, "diff", "--no-index", "--binary", "--", "/dev/null", name, allowed=(0, 1))
        if new is None:
            return None
        diff += new
    return (
        diff if len(diff) <= _LARGEST_DIFF_BYTES else f"{diff[:_LARGEST_DIFF_BYTES]}\n(cut here: larger than 10 MB)\n"
    )


def _git(root: Path, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str | None:
    try:
        answer = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.decode("utf-8", errors="replace") if answer.returncode in allowed else None
