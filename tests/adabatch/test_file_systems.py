"""File systems that say no: the run trains, or one sentence says why not; what was left lying is removed."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

import pytest

from adabatch import files
from adabatch.config.compose import compose
from adabatch.errors import ConfigError
from adabatch.run import resume_run, run_config
from adabatch.rundir.files import RunDir
from adabatch.rundir.journal import Journal
from tests.adabatch.support import TINY
from tests.conftest import Train


@pytest.fixture(autouse=True)
def _no_warning_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_warned", set())


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_without_locks_it_trains_and_warns_once(
    train: Train, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    for name in ("first", "second"):
        assert train("num_epochs=1", name=name).done.exists()
    warnings = [record.getMessage() for record in caplog.records if "cannot lock files" in record.getMessage()]
    assert len(warnings) == 1
    assert os.strerror(number) in warnings[0]


def test_a_sweep_is_submitted_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with Journal(tmp_path / "sweep").locked(lambda: pytest.fail("nobody else is there")):
        pass


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_syncing_it_trains(train: Train, monkeypatch: pytest.MonkeyPatch, caplog, number: int) -> None:
    def refuse(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    assert train("num_epochs=1").done.exists()
    assert sum("cannot make writes durable" in record.getMessage() for record in caplog.records) == 1


def test_an_error_of_the_disk_is_no_refusal_to_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    (tmp_path / "file").write_text("before")
    with pytest.raises(OSError, match="Input/output error"):
        files.write_text_atomic(tmp_path / "file", "after")
    assert (tmp_path / "file").read_text() == "before"
    assert os.listdir(tmp_path) == ["file"]


def test_what_killed_writes_left_is_removed_by_the_next_owner(train: Train) -> None:
    run_dir = train("num_epochs=1")
    run_dir.done.unlink()
    left = [".adabatch-0123456789abcdef.tmp", ".meta.json.123.tmp", "checkpoint.new.pt"]
    kept = [".mine.tmp", "notes.txt", "adabatch-0123456789abcdef.tmp"]
    for name in (*left, *kept):
        (run_dir.path / name).write_text("x")
    assert resume_run(run_dir.path) == 0
    assert [name for name in left if (run_dir.path / name).exists()] == []
    assert [name for name in kept if not (run_dir.path / name).exists()] == []


@pytest.mark.parametrize("folder", ["n" * 300, "/proc/nothing", "/dev/null/run", "/dev/full"])
def test_a_folder_that_cannot_be_made_is_one_sentence(folder: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="run_dir is .*; it must be a folder that can be written"):
        run_config(compose([*TINY, f"run_dir={folder}"]))


@pytest.mark.parametrize("name", [".lock", "log.txt"])
@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_files_that_are_written_are_regular_too(tmp_path: Path, name: str, kind: str) -> None:
    """A pipe would hold the trainer up, and a link let it write elsewhere."""
    run_dir, elsewhere = RunDir(tmp_path / "run"), tmp_path / "elsewhere"
    run_dir.path.mkdir()
    elsewhere.write_text("untouched")
    path = run_dir.path / name
    {"pipe": os.mkfifo, "link": lambda path: path.symlink_to(elsewhere), "folder": os.mkdir}[kind](path)
    with pytest.raises(ConfigError, match="run_dir is .*; it must be a folder that can be written"):
        run_config(compose([*TINY, f"run_dir={run_dir.path}"]))
    assert elsewhere.read_text() == "untouched"


def test_nobody_can_foresee_where_a_file_is_written_first(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("untouched")
    (tmp_path / f".file.{os.getpid()}.tmp").symlink_to("elsewhere")
    files.write_text_atomic(tmp_path / "file", "text")
    assert (tmp_path / "elsewhere").read_text() == "untouched"
    assert (tmp_path / "file").read_text() == "text"


def test_a_home_folder_that_the_shell_left_is_meant(train: Train, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert run_config(compose([*TINY, "num_epochs=1", "run_dir='~/run'"])) == 0
    assert (tmp_path / "home" / "run" / "DONE").exists()
    assert files.user_path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


@pytest.mark.parametrize("value", ["a=b", "(x)", "a#b"])
def test_a_value_that_hydra_cannot_read_is_shown_as_it_can(value: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        compose([f"run_dir={value}"])
    quoted = str(refusal.value).split("'")[-2]
    assert compose([quoted]).run_dir == value


@pytest.mark.parametrize("target", ["/dev/full", "/dev/stdout", "folder", "pipe", "link", "file/x", "n" * 300])
def test_an_output_replaces_files_only(target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo("pipe")
    with pytest.raises(ConfigError, match="-o is .*; it must be a file"), files.output("-o", Path(target)) as file:
        file.write_text("y")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder", "link", "pipe"]
    assert (tmp_path / "file").read_text() == "x"


def test_an_output_is_whole_or_as_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    with files.output("-o", path) as file:
        file.write_text("one")
    with suppress(KeyError), files.output("-o", path) as file:
        file.write_text("two")
        raise KeyError
    assert path.read_text() == "one"
    assert os.listdir(path.parent) == ["report.html"]
