"""Files that others can write to: what is no plain file of a sensible size is refused at once, in a clause."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adabatch.reading import Unreadable, parse_json, parse_yaml, printable, read_end, read_json, read_text, read_yaml
from adabatch.rundir.files import RunDir, find_runs
from adabatch.rundir.outcome import read_failure


def test_pipes_links_folders_and_devices_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("x")
    (tmp_path / "link").symlink_to("text")
    (tmp_path / "folder").mkdir()
    for name, why in (("pipe", "no regular file"), ("link", "it is a link"), ("folder", "no regular file")):
        with pytest.raises(Unreadable, match=why):
            read_text(tmp_path / name)
    with pytest.raises(Unreadable, match="no regular file"):
        read_text("/dev/zero")
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "nothing")


def test_a_file_beyond_its_bound_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "epochs.csv"
    path.write_text("x")
    os.truncate(path, 1 << 40)
    with pytest.raises(Unreadable, match="more than 268,435,456 bytes"):
        read_text(path)
    assert read_end(path, 4) == "\0" * 4


@pytest.mark.parametrize(
    "text", ["[" * 51 + "]" * 51, '{"a": ' * 60 + "1" + "}" * 60, "[" * 10**6], ids=["lists", "mappings", "a million"]
)
def test_json_is_nested_so_deep_and_no_deeper(text: str) -> None:
    with pytest.raises(Unreadable, match="nested more than 50 levels deep"):
        parse_json(text)


def test_brackets_side_by_side_or_in_texts_are_no_nesting() -> None:
    assert parse_json("[" + ",".join(["[]"] * 1000) + "]") == [[]] * 1000
    assert parse_json('["' + "[{" * 1000 + '"]') == ["[{" * 1000]
    assert parse_json("[" * 50 + "]" * 50)


@pytest.mark.parametrize("text", ["9" * 5000, '"\\ud800"', "{", "nul", "\0", ""])
def test_json_that_cannot_be_used(text: str) -> None:
    with pytest.raises(Unreadable, match="it is no JSON that can be used"):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &x [1]\nb: *x\n", "it has an alias"),
        ("&x a: {b: *x}", "it has an alias"),
        ("[" * 51 + "]" * 51, "nested more than 50"),
        ("\n".join(" " * level + "a:" for level in range(60)), "nested more than 50"),
        ("- " * 60 + "a", "nested more than 50"),
        ("a: !!python/object:os.system x", "no YAML that can be used"),
        ("a: 2026-13-45", "no YAML that can be used"),
        ("a: " + "9" * 5000, "no YAML that can be used"),
        ("a: [", "no YAML that can be used"),
        ("a: \x00", "no YAML that can be used"),
    ],
)
def test_yaml_is_plain(text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        parse_yaml(text)


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_bytes("ä: 1".encode("latin-1"))
    with pytest.raises(Unreadable, match="it is no UTF-8 text"):
        read_yaml(tmp_path / "config.yaml")
    (tmp_path / "meta.json").write_bytes('{"a": 1}'.encode("utf-16"))
    with pytest.raises(Unreadable, match="it is no UTF-8 text"):
        read_json(tmp_path / "meta.json")


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[2J", "\\x1b[2J"), ("a\nb", "a\\nb"), ("\u202ex", "\\u202ex"), ("\udcff", "\\udcff"), ("ü ± –", "ü ± –")],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_failure_is_its_first_line_whatever_follows(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    run_dir.failed.write_bytes(b"Cause: \xff\nmore")
    os.truncate(run_dir.failed, 1 << 33)
    assert read_failure(run_dir) == "Cause: \ufffd"
    run_dir.failed.unlink()
    run_dir.failed.symlink_to("/etc/hostname")
    assert read_failure(run_dir) == "FAILED cannot be read: it is a link, and must be a regular file"


def run_at(path: Path) -> Path:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("seed: 0\n")
    return path


def test_links_to_runs_are_followed_once(tmp_path: Path) -> None:
    """A folder of links, as somebody makes it who picks runs, and links that lead back."""
    first, second = run_at(tmp_path / "real" / "a" / "seed_0"), run_at(tmp_path / "real" / "b" / "seed_0")
    picked = tmp_path / "picked"
    picked.mkdir()
    (picked / "one").symlink_to(first)
    (picked / "all").symlink_to(tmp_path / "real")
    (picked / "back").symlink_to(picked)
    (picked / "nowhere").symlink_to("/nowhere")
    found = find_runs(picked)
    assert len(found) == 2
    assert {path.resolve() for path in found} == {first, second}
    (tmp_path / "real" / "best").symlink_to(first)
    (tmp_path / "real" / "a" / "up").symlink_to("..")
    assert find_runs(tmp_path / "real") == [first, second]


def test_a_link_to_everything_is_no_search_of_everything(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = run_at(tmp_path / "runs" / "seed_0")
    for number in range(1100):
        (tmp_path / "elsewhere" / str(number)).mkdir(parents=True)
    (tmp_path / "runs" / "everything").symlink_to(tmp_path / "elsewhere")
    assert find_runs(tmp_path / "runs") == [own]
    assert "leads to more than 1000 folders without a run" in caplog.text
