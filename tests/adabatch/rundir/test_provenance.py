"""What git tells of the code, what it does not, and that a run says so."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import adabatch.git
from adabatch.rundir.provenance import CodeVersion

pytestmark = pytest.mark.slow


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a file that a repository tracks."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "mine.py").write_text("one = 1\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", "-C", folder, *words], check=True)
    return folder / "mine.py"


def fake_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")


def test_what_git_knows_is_recorded(repository):
    code = CodeVersion.of(repository)
    assert (len(code.facts["git_sha"]), code.facts["git_dirty"], code.unknown) == (40, False, None)
    repository.write_text("one = 2\n")
    assert CodeVersion.of(repository).facts["git_dirty"] is True


def test_a_repository_that_only_encloses_the_code_is_not_taken_for_its_own(repository):
    installed = repository.parent / "environment" / "package.py"
    installed.parent.mkdir()
    installed.write_text("")
    code = CodeVersion.of(installed)
    assert (code.facts["git_sha"], code.is_refused) == (None, False)
    why = f"no git repository tracks {installed}"
    assert code.unknown == f"the commit of the code is not known: {why}; tables mark the pairs of such runs."


def test_a_refusal_is_told_in_gits_words(repository, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    code = CodeVersion.of(repository)
    assert (code.facts["git_sha"], code.facts["git_dirty"], code.is_refused) == (None, None, True)
    assert "the commit of the code is not known: detected dubious ownership in repository" in str(code.unknown)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exec sleep 60", "git gave no answer within 0.2 s"),
        ("echo 'fatal: bad object \\377' >&2; exit 128", "bad object"),
        ("exit 3", "git ended with status 3"),
        ("kill -9 $$", "git ended with status -9"),
    ],
)
def test_a_git_that_is_slow_or_broken_is_told(script, reason, repository, tmp_path, monkeypatch):
    fake_git(tmp_path, monkeypatch, script)
    monkeypatch.setattr(adabatch.git, "_PATIENCE_SECONDS", 0.2 if "sleep" in script else 20)
    code = CodeVersion.of(repository)
    assert (code.facts["git_sha"], code.is_refused) == (None, True)
    assert reason in str(code.unknown)


def test_the_changes_alone_may_be_unknown(repository, tmp_path, monkeypatch):
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    fake_git(tmp_path, monkeypatch, f'case "$*" in *" status "*) exit 9;; esac\nexec {real} "$@"')
    code = CodeVersion.of(repository)
    assert (len(code.facts["git_sha"]), code.facts["git_dirty"], code.is_refused) == (40, None, True)
    assert str(code.unknown).startswith(
        "whether the code has uncommitted changes is not known: git ended with status 9"
    )


def test_without_git_the_run_says_so_at_its_start(train, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    log = train("num_epochs=1").log.read_text()
    assert "WARNING the commit of the code is not known: git is not installed; tables mark" in log
    assert log.index("not known") < log.index("epoch 1/1")
