"""Option files are data: what they hold sets keys, and runs, reads and configures nothing else."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

import adabatch.command
from adabatch.config.compose import compose
from adabatch.errors import ConfigError

_BASE = ("network=tiny_cnn", "dataset=digits")


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "content",
    [
        "# @package _global_\nhydra:\n  callbacks:\n    a:\n      _target_: pathlib.Path.touch\n      self: OUT\n",
        "# @package hydra.callbacks\na: {_target_: builtins.open, file: OUT, mode: w}\n",
        "# @package hydra\njob_logging: {version: 1, handlers: {h: {'()': builtins.open, file: OUT, mode: w}}}\n",
        "# @package _global_\nhydra: {hydra_logging: {version: 1, root: {level: DEBUG}}}\n",
        "# @package _global_\nhydra: {job: {env_set: {HOSTILE_OPTION: '1'}, chdir: true}}\n",
        "# @package _global_\nhydra: {sweeper: {_target_: builtins.open, file: OUT, mode: w}}\n",
        "defaults: [base_tracker, {override /hydra/launcher: mine}, _self_]\n",
        "defaults: [base_tracker, mine@hydra.callbacks.x, _self_]\n",
        "defaults: [base_tracker, _self_]\nargs: {x: {_target_: builtins.open, file: OUT, mode: w}}\n",
        "defaults: [base_tracker, _self_]\nproject: ${oc.env:HOME}\n",
        "defaults: [base_tracker, _self_]\nproject: ${oc.decode:${oc.env:HOME}}\n",
        "defaults: [base_tracker, _self_]\ntags: ['${own_resolver:1}']\n",
        "defaults: ['${oc.env:HOME}', _self_]\n",
        "defaults: [base_tracker, _self_]\nproject: !!python/object/apply:builtins.open [OUT, w]\n",
    ],
)
def test_an_option_file_that_would_call_something_is_refused_by_name(content, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    path = write(tmp_path / "options", "tracker/hostile.yaml", content.replace("OUT", str(out)))
    monkeypatch.chdir(tmp_path)
    words = [*_BASE, "tracker=hostile", "--config-dir", "options"]
    handlers, environment = list(logging.root.handlers), dict(os.environ)
    for extra in ([], ["-m"], ["--cfg", "job"]):
        monkeypatch.setattr(sys, "argv", ["adabatch", *words, *extra])
        status = adabatch.command.main()
        said = capsys.readouterr()
        if "${" in content and extra == ["--cfg", "job"] and status == 0:
            continue  # printed as it is written
        assert (status, said.out) == (2, "")
        assert str(path) in said.err or "call nothing" in said.err or "oc.env" in said.err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["options"]
    assert (list(logging.root.handlers), dict(os.environ), Path.cwd()) == (handlers, environment, tmp_path)


@pytest.mark.parametrize(
    "word",
    [
        "hydra.run.dir=x",
        "+hydra.callbacks.c._target_=os.getcwd",
        "hydra/sweeper=mine",
        "~hydra.job",
        "++hydra.searchpath=[pkg://this]",
        "tracker.args._target_=os.getcwd",
        "tracker@hydra.callbacks=none",
        "tracker.project=${oc.env:HOME}",
        "tracker.notes='${oc.create:1}'",
        "tracker.notes=${hydra:runtime.cwd}",
        "num_epochs=${oc.decode:'3'}",
    ],
)
def test_a_word_that_sets_or_calls_what_is_hydras_is_refused_by_name(word):
    key = word.partition("=")[0].lstrip("+~").partition("@")[0]
    with pytest.raises(ConfigError, match=f"^{key}.*(Hydra's|another place|call nothing)"):
        compose([*_BASE, word])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("project: café\n".encode("latin-1"), r"hostile.yaml is not UTF-8 \(byte 13\)"),
        ("project: [\n", "hostile.yaml, line 2 cannot be read as YAML"),
        ("a: &x {b: 1}\nc: *x\n", r"hostile.yaml holds the alias \*x"),
        ("project: a\nproject: b\n", "hostile.yaml, line 1 has the key project twice"),
        ("- project\n", "hostile.yaml holds no mapping"),
        ("args: " + "[" * 50 + "]" * 50, "nests more than 20 levels"),
        pytest.param(b"x" * 1_000_001, "is larger than 1,000,000 bytes", id="a megabyte"),
        ("every: 10:30\n", "line 1 holds 10:30, which YAML may take for another number"),
        ("project: 010\n", "line 1 holds 010, which YAML may take for another number"),
        ("project: 2025-01-31\n", "line 1 holds 2025-01-31, which YAML"),
        ("? {a: 1}\n: b\n", "a mapping as a key"),
        ("defaults: base_tracker\n", "defaults is base_tracker; it must be a list of options"),
        ("defaults: [base_tracker, _self_]\nproject: 12\n", "tracker.project is 12; it must be a text"),
    ],
)
def test_a_file_that_is_no_option_is_refused_by_place(content, sentence, tmp_path):
    write(tmp_path, "tracker/hostile.yaml", content)
    with pytest.raises(ConfigError, match=sentence):
        compose([*_BASE, "tracker=hostile"], tmp_path)


def test_an_option_without_its_schema_has_its_keys_and_defaults(tmp_path):
    write(tmp_path, "tracker/mine.yaml", "project: mine\nnotes: ${tracker.project}\n")
    tracker = compose([*_BASE, "tracker=mine"], tmp_path).tracker
    assert (tracker.project, tracker.notes, tracker.kind) == ("mine", "mine", "none")
    assert compose([*_BASE, "tracker=mine", "tracker.entity=me"], tmp_path).tracker.entity == "me"
    write(tmp_path, "tracker/mine.yaml", "projct: mine\n")
    with pytest.raises(ConfigError, match="the option tracker/mine cannot be used: Key 'projct' not in"):
        compose([*_BASE, "tracker=mine"], tmp_path)


def test_a_file_that_is_no_regular_one_is_refused(tmp_path):
    (tmp_path / "tracker").mkdir()
    os.mkfifo(tmp_path / "tracker" / "hostile.yaml")
    with pytest.raises(ConfigError, match="hostile.yaml is no regular file"):
        compose([*_BASE, "tracker=hostile"], tmp_path)
