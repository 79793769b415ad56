"""Whether what a comparison is judged by was declared before the sweep ran."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from adabatch.rundir.journal import sweep_folder_of
from adabatch.rundir.preregistration import Registration, read_registrations
from adabatch.terminal import counted
from analysis.criteria import Criteria
from analysis.frames import Data


def registrations(data: Data, baseline: str | None, criteria: Criteria) -> Iterator[str]:
    """Yield for each sweep folder what it declared at its first submission, and whether that still holds."""
    runs = {path.parent: path for path in map(Path, reversed(data.runs.index))}  # one of each arm is enough to ask
    folders = dict.fromkeys(folder for run in reversed(runs.values()) if (folder := sweep_folder_of(run)))
    for folder in folders:
        known = read_registrations(folder)
        if known:
            yield _sentence(folder.name, known, baseline, criteria)


def _sentence(name: str, known: list[Registration], baseline: str | None, criteria: Criteria) -> str:
    first, last = known[0], known[-1]
    made_at = datetime.fromtimestamp(first.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
    head = f"{name}: registered {made_at} as {first.digest}"
    used: dict[str, object] = {key: getattr(criteria, key) for key in ("target", "margin", "smallest_effect")}
    if baseline is not None:
        used["baseline"] = baseline
    changed = [key for key, value in used.items() if last.content.get(key) != value]
    if changed:
        return f"{head}; this comparison uses another {', '.join(key.replace('_', ' ') for key in changed)}."
    if last.digest != first.digest:
        keys = [key for key in last.content if last.content.get(key) != first.content.get(key)]
        runs = f"{counted(last.num_done, 'run')} {'was' if last.num_done == 1 else 'were'}"
        return f"{head}; changed after {runs} done ({', '.join(keys)}), now {last.digest}."
    return f"{head}; unchanged."
