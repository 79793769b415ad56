"""What is known of neither run of a pair is not taken for equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import analysis
from adabatch.errors import ConfigError
from analysis.comparison import Comparison
from tests.analysis.runs import write_run

_TWO = {"accuracies": (0.5, 0.9), "epoch_seconds": 1}
DECAYING: dict[str, Any] = {"batches": (10, 10), "rates": (0.01, 0.005), **_TWO}
GROWING: dict[str, Any] = {"batches": (10, 20), "rates": (0.01, 0.01), **_TWO}
_KEY = ("digits-tiny_cnn", "adaptive", "fixed")


def compare(root: Path) -> Comparison:
    return analysis.compare(analysis.load(root))


def marks(folder: Path, meta: dict[str, Any]) -> list[str]:
    write_run(folder, "fixed", **DECAYING, meta=meta)
    write_run(folder, "adaptive", **GROWING, meta=meta)
    comparison = compare(folder)
    assert len(comparison.matching.pairs) == 1
    return [mark for mark in comparison.matching.marks.get(_KEY, []) if mark.startswith("not known")]


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ({}, []),
        ({"git_sha": None, "git_dirty": None}, ["git_sha, git_dirty"]),
        ({"git_dirty": None}, ["git_dirty"]),
        ({"torchvision": None, "python": None}, ["python, torchvision"]),
        ({"device_model": None}, ["device_model"]),
        ({"device": "cuda"}, ["cuda, cudnn"]),
        ({"device": "cuda", "cuda": "12.8", "cudnn": "91002"}, []),
        ({"source": "recorded", "git_sha": None}, ["git_sha"]),
        ({"source": "foreign", "git_sha": None, "torch": None}, []),
    ],
)
def test_a_pair_is_marked_with_what_is_known_of_neither(missing, named, tmp_path: Path) -> None:
    expected = [f"not known of either run, so perhaps not equal: {names}" for names in named]
    assert marks(tmp_path, missing) == expected


def test_an_unknown_key_of_allow_is_refused(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", **DECAYING)
    sentence = "--allow is git_shaa; it must be a key of the config, .* Did you mean git_sha?"
    with pytest.raises(ConfigError, match=sentence):
        analysis.compare(analysis.load(tmp_path), allow=["git_dirty", "git_shaa"])


def test_what_is_known_of_one_run_only_refuses_the_pair(tmp_path: Path) -> None:
    write_run(tmp_path, "fixed", **DECAYING)
    write_run(tmp_path, "adaptive", **GROWING, meta={"git_sha": None})
    assert list(compare(tmp_path).matching.refused.key) == ["git_sha"]
