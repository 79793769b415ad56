"""The facts of ``meta.json`` about code, libraries and machine."""

from __future__ import annotations

import datetime
import itertools
import os
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from adabatch import __version__
from adabatch.files import SOURCE_DIR
from adabatch.git import Answer, ask_git
from adabatch.reading import read_mapping
from adabatch.rundir.meta import Meta

#: Tells which repository this package is in.
_OWN_FILE = SOURCE_DIR / "adabatch" / "__init__.py"
#: In a copy that was frozen for a submission: what `code_version` said of the original.
FROZEN_VERSION = "frozen_version.json"
_JOB_ID_VARIABLES = ("SLURM_ARRAY_JOB_ID", "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")


def utc_now() -> str:
    """Return the time as ISO 8601 with seconds, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def code_version(path: Path = _OWN_FILE) -> dict[str, Any]:
    """Return this package's version and, if a git repository tracks a path, its commit and whether there are changes.

    A repository that merely encloses the path, such as one of a project with its own environment, does not count.

    Args:
        path: a file of this package, or the folder of another program whose code trains.
    """
    return CodeVersion.of(path).facts


@dataclass(frozen=True)
class CodeVersion:
    """The version of the code that trains.

    Attributes:
        facts: ``adabatch_version``, ``git_sha`` and ``git_dirty``; the last two are None if they are not known.
        unknown: a sentence on what is not known, and why; None if all is known.
        is_refused: whether git did not answer, although there may be a repository.
    """

    facts: dict[str, Any]
    unknown: str | None
    is_refused: bool

    @classmethod
    def of(cls, path: Path = _OWN_FILE) -> CodeVersion:
        """Ask git about a path; see `code_version`. Of a frozen copy of this package, its own record tells."""
        frozen = read_mapping(SOURCE_DIR / FROZEN_VERSION) if path == _OWN_FILE else {}
        if frozen:
            return cls._of_original(frozen)
        folder, name = (path, ".") if path.is_dir() else (path.parent, path.name)
        tracked = ask_git(folder, "ls-files", "--error-unmatch", "--", name)
        commit = Answer(None, tracked.refusal) if tracked.text is None else ask_git(folder, "rev-parse", "HEAD")
        status = ask_git(folder, "status", "--porcelain", "--untracked-files=no") if commit.text else Answer(None)
        refusal = commit.refusal or status.refusal
        what = "whether the code has uncommitted changes" if commit.text else "the commit of the code"
        why = refusal or f"no git repository tracks {path}"
        facts = {
            "adabatch_version": __version__,
            "git_sha": commit.text,
            "git_dirty": None if status.text is None else bool(status.text),
        }
        is_known = status.text is not None
        unknown = None if is_known else f"{what} is not known: {why}; tables mark the pairs of such runs."
        return cls(facts, unknown, refusal is not None)

    @classmethod
    def _of_original(cls, facts: dict[str, Any]) -> CodeVersion:
        what = "whether the code has uncommitted changes" if facts.get("git_sha") else "the commit of the code"
        is_known = facts.get("git_dirty") is not None
        unknown = None if is_known else f"{what} was not known at the submission; tables mark the pairs of such runs."
        return cls(facts, unknown, is_refused=False)


def library_versions() -> dict[str, str | None]:
    """Return the versions of Python, torch and torchvision."""
    return {
        "python": platform.python_version(),
        "torch": _version("torch"),
        "torchvision": _version("torchvision"),
    }


def gpu_versions() -> dict[str, str | None]:
    """Return the versions of CUDA, as torch was built with it, and cuDNN."""
    import torch

    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    return {"cuda": torch.version.cuda, "cudnn": None if cudnn is None else str(cudnn)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def cpu_model() -> str:
    """Return the processor's name as reported by the system."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def batch_job_id() -> str | None:
    """Return the id of the batch job in which this process runs, with its array index if any; None if there is none."""
    job_id = next((os.environ[name] for name in _JOB_ID_VARIABLES if os.environ.get(name)), None)
    if job_id is not None and os.environ.get("SLURM_ARRAY_TASK_ID"):
        job_id = f"{job_id}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return job_id


def new_segment(before: Meta, world_size: int, made_by: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts that a new segment of a run changes: its own entry of ``segments``, and what follows from it.

    Args:
        before: what is known of the run.
        made_by: facts of code, libraries and device; a run resumed on another machine lists both.
    """
    own = {
        "started_at": utc_now(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "job_id": batch_job_id(),
        "world_size": world_size,
        **made_by,
    }
    segments = [*before.segments, own]
    return {
        "host": own["host"],
        "world_size": world_size,
        "job_ids": sorted({entry["job_id"] for entry in segments if entry["job_id"]}),
        "restarts": _num_restarts(segments),
        "segments": segments,
        "started_at": before.started_at or utc_now(),
    }


def _num_restarts(segments: Sequence[Mapping[str, Any]]) -> int:
    """Return how often a run began again, not counting the boundaries after which other ranks go on as planned.

    Only there does the number of ranks change; segments of older versions do not record it.
    """
    counts = [entry.get("world_size") for entry in segments]
    return sum(before == after or None in (before, after) for before, after in itertools.pairwise(counts))
