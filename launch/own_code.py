"""The user's own code in a sweep: checked before anything starts, and frozen, so that no later edit reaches a job."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from adabatch.plugins import Kind
from adabatch.plugins.code import CODE_VARIABLE, freeze, imported_files
from adabatch.plugins.loading import code_folder
from adabatch.rundir.files import RunDir
from adabatch.rundir.journal import Journal
from adabatch.trackers.make import check_tracker
from launch.expand import Run

if TYPE_CHECKING:
    from adabatch.plugins.code import OwnCode


def check_own_code(runs: Sequence[Run]) -> None:
    """Import and check every plug-in that runs name, and that the packages of their trackers are installed.

    Raises:
        ConfigError: if one cannot be used.
    """
    for tracker in {repr(run.config.tracker): run.config.tracker for run in runs}.values():
        check_tracker(tracker)
    for _ in _codes(runs):
        pass


def own_codes_of(runs: Sequence[Run]) -> list[OwnCode]:
    """Return the code of the plug-ins that runs name.

    Raises:
        ConfigError: if one cannot be used, or a started run was trained with other code.
    """
    found: dict[str, OwnCode] = {}
    for run, codes in _codes(runs):
        from adabatch.training.own_code import refuse_other_code

        if RunDir(run.run_dir).has_started:
            refuse_other_code(RunDir(run.run_dir), codes)
        found |= {code.identity: code for code in codes.values()}
    return list(found.values())


def _codes(runs: Sequence[Run]) -> Iterator[tuple[Run, dict[str, OwnCode]]]:
    """Yield the runs that name a plug-in, with its code; equal ones are imported and checked once."""
    known: dict[str, dict[str, OwnCode]] = {}
    for run in runs:
        plugins = _plugins(run)
        if plugins:
            from adabatch.training.own_code import own_codes, try_out

            key = json.dumps(plugins, sort_keys=True, default=str)
            if key not in known:
                known[key] = own_codes(run.config)
                try_out(run.config)
            yield run, known[key]


def _plugins(run: Run) -> dict[str, Any]:
    groups = {kind.value: getattr(run.config, kind) for kind in Kind}
    named = {name: [group.path, group.args] for name, group in groups.items() if getattr(group, "path", None)}
    return {**named, **run.config.metrics}


def freeze_own_code(journal: Journal, codes: Iterable[OwnCode]) -> dict[str, str]:
    """Copy the user's own code below the sweep's folder.

    Returns:
        the variable that makes a job import that copy; empty if the sweep uses no code of the user's.
    """
    files = {name: path for code in codes for name, path in code.files.items()}
    if not files:
        return {}
    files |= imported_files(code_folder())
    return {CODE_VARIABLE: str(freeze(files, journal.folder / "code").resolve())}
