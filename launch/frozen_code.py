"""Copies of adabatch's own code below a sweep's folder, from which its jobs run whatever is edited later."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from adabatch.files import SOURCE_DIR
from adabatch.plugins.code import files_below, freeze, is_hash
from adabatch.rundir.journal import Journal
from adabatch.rundir.provenance import FROZEN_VERSION, code_version

#: What a job needs; analysis stays behind.
_PARTS = ("adabatch", "launch", "conf")


@dataclass(frozen=True)
class FrozenCode:
    """The copies of code that the jobs of a submission import.

    Attributes:
        adabatch: the copy of this package.
        environment: the variables that make trainers import the copy of the user's own code; empty if there is none.
    """

    adabatch: Path
    environment: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """The names of the copies: their hashes."""
        return [self.adabatch.name, *(Path(folder).name for folder in self.environment.values())]


def codes_folder(journal: Journal) -> Path:
    """Return the folder of a sweep's copies of code, each named by its hash."""
    return journal.folder / "code"


def freeze_adabatch(journal: Journal) -> Path:
    """Copy the code that a job needs, with its version and commit; return the absolute path of the copy."""
    files: dict[str, Path | bytes] = {
        f"{part}/{name}": path for part in _PARTS for name, path in files_below(SOURCE_DIR / part).items()
    }
    files[FROZEN_VERSION] = json.dumps(code_version(), sort_keys=True).encode()
    return freeze(files, codes_folder(journal)).resolve()


def remove_unused_codes(journal: Journal, needed: Collection[str], is_live: Callable[[str], bool]) -> None:
    """Remove the copies that no job can import any more.

    Args:
        needed: the names of copies that are about to be used.
        is_live: whether a job of the batch system is queued or running.
    """
    used, folder = journal.codes_in_use(is_live), codes_folder(journal)
    # Others may be able to write to the sweep's folder; a link would lead to files that are no copies.
    if used is None or folder.is_symlink() or not folder.is_dir():
        return
    for copy in folder.iterdir():
        if is_hash(copy.name) and copy.name not in used | set(needed):
            shutil.rmtree(copy, ignore_errors=True)
