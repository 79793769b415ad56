"""The examples in the help of every verb are calls that the verb reads."""

from __future__ import annotations

import inspect
import pkgutil
import re
import shlex
import sys
from collections.abc import Callable
from typing import Any

import pytest

import adabatch.verbs
import analysis.verbs
import launch.cli
import launch.verbs
from adabatch.config.compose import compose
from adabatch.shell.completion import script
from adabatch.verb_help import name_of, parser_place

VERBS = [
    verb
    for module in (adabatch.verbs, launch.verbs, analysis.verbs)
    for _, verb in inspect.getmembers(module, inspect.isfunction)
    if parser_place(verb) is not None
]


def examples(verb: Callable[[], Any]) -> list[list[str]]:
    """Return the words of each call in a verb's help, as a shell would hand them over."""
    lines = re.findall(r"^ *adabatch (.+)$", inspect.getdoc(verb) or "", re.MULTILINE)
    calls = [part.removeprefix("adabatch ") for line in lines for part in line.split(" && ")]
    return [shlex.split(call.partition(" > ")[0].partition(" >> ")[0]) for call in calls]


@pytest.mark.parametrize("verb", VERBS, ids=name_of)
def test_a_verb_has_an_example_and_reads_it(verb: Callable[[], Any]) -> None:
    calls = [call for call in examples(verb) if call[0] == name_of(verb)]
    assert calls
    place = parser_place(verb)
    assert place is not None
    for _, *words in calls:
        parser = pkgutil.resolve_name(place)(name_of(verb))
        read = parser.parse_args(words) if words and words[0].startswith("-") else parser.parse_intermixed_args(words)
        assert vars(read)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if name_of(verb) not in ("train", "completion")], ids=name_of)
def test_the_help_of_a_verb_fits_80_columns_and_keeps_its_examples(
    verb: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", [name_of(verb), "--help"])
    with pytest.raises(SystemExit):
        verb()
    lines = capsys.readouterr().out.splitlines()
    kept = [line for line in lines if line.startswith("  adabatch ")]
    assert [line.strip() for line in kept] == re.findall(r"^ *(adabatch .+)$", inspect.getdoc(verb) or "", re.MULTILINE)
    assert max(map(len, lines)) <= 80


def test_the_help_of_a_training_fits_80_columns_but_for_its_examples(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["adabatch train", "--help"])
    assert adabatch.verbs.train() == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 100
    assert [line for line in lines if len(line) > 80 and not line.startswith("  adabatch train ")] == []


def test_the_list_of_verbs_fits_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert launch.cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  cancel  Stop what is queued") for line in lines)
    assert max(map(len, lines)) <= 80


def test_the_example_of_a_training_is_a_config() -> None:
    ((_, *words),) = examples(adabatch.verbs.train)
    config = compose(words)
    assert (config.network.name, config.dataset.name, config.num_epochs) == ("tiny_cnn", "digits", 2)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_names_the_command(shell: str) -> None:
    assert "adabatch" in script(shell)
