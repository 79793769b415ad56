"""Asks git about a folder."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PATIENCE_SECONDS = 20
#: Git's messages in English, and no writing to the repository while it is asked.
_ENVIRONMENT = {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
#: How git says that a folder or a file is in no repository, which is an answer.
_UNTRACKED = ("not a git repository", "did not match any file(s) known to git")


@dataclass(frozen=True)
class Answer:
    """What git said.

    Attributes:
        text: what it printed; None if it printed nothing of use.
        refusal: why there is no answer, such as ``detected dubious ownership in repository at '/x'``; None if git
            answered, be it that nothing is in a repository.
    """

    text: str | None
    refusal: str | None = None


def ask_git(folder: Path, *arguments: str) -> Answer:
    """Return git's answer to a command in a folder."""
    command = ["git", "-C", str(folder), *arguments]
    environment = {**os.environ, **_ENVIRONMENT}
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", env=environment, timeout=_PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return Answer(None, f"git gave no answer within {_PATIENCE_SECONDS} s")
    except FileNotFoundError:
        return Answer(None, "git is not installed")
    except OSError as error:
        return Answer(None, f"git cannot be started ({error.strerror})")
    if done.returncode == 0:
        return Answer(done.stdout.strip())
    said = done.stderr.strip().partition("\n")[0].removeprefix("fatal: ").removeprefix("error: ")
    is_answer = any(words in done.stderr for words in _UNTRACKED)
    return Answer(None, None if is_answer else said or f"git ended with status {done.returncode}")


def git(folder: Path, *arguments: str) -> str | None:
    """Return what a git command prints in a folder; None if it refuses, takes too long, or git is not there."""
    return ask_git(folder, *arguments).text
