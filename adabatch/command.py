"""The trainer: ``adabatch train`` or ``python -m adabatch``, and ``key=value ...``.

Hydra composes the config, and does nothing else: its own app would call what the config names as callbacks, launchers
and log handlers, before the config is checked.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import hydra

from adabatch.call_words import CallRules, check_words, config_dir_of, options_of
from adabatch.config import CONF_DIR
from adabatch.config.compose import compose, composed_text, composer, each_run, option_names, register_schemas
from adabatch.config.keys import KEYS, is_key_or_group
from adabatch.config.schema import GROUPS
from adabatch.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, ConfigError
from adabatch.fields import Changes
from adabatch.run import run_config
from adabatch.shell.arguments import train_parser
from adabatch.terminal import complain, prepare_streams
from adabatch.verb_help import VERSION

_HELP = """\
{what}

  {program} network=resnet20 dataset=fashion_mnist schedule=adabatch seed=1
  {program} network=tiny_cnn dataset=digits num_epochs=20 schedule.batch_size=16
  {program} -m seed=1,2,3            several runs, one after another

{again}

Choose an option of a group with group=option:

{options}

{marks}

{keys}

{flags}

{statuses}
"""
_WHAT = "Trains one network on one data set under one schedule of batch size and learning rate."
_AGAIN = "Repeating the command resumes an interrupted run and leaves a finished one as it is."
_KEY_MARKS = (
    "Set a value with key=value. A key marked (time) affects only how long a run takes, one marked (-) does not affect "
    "its results; brackets hold the allowed values:"
)
_STATUSES = (
    "Exit status: 0 done, 1 failed, 2 invalid call or config, 75 stopped by a signal with its state saved, "
    "130 by Ctrl-C."
)
_FLAGS = {
    "--quick": "end within about a minute, with few samples and epochs; it proves nothing",
    "--cfg job": "print the composed config, without training",
    "--config-dir DIR": "add your own options: DIR/dataset/NAME.yaml and so on; they hold values and references to "
    "other keys, such as ${dataset.name}, and call nothing",
    "--help": "this page, which a call without arguments shows, too",
    "--version": "the installed version",
}
_MARKS = {Changes.RESULT: "", Changes.TIME: "time", Changes.NOTHING: "-"}
#: Of the help where the terminal is wider, or the output is piped.
_MOST_COLUMNS = 100


def _help_text(program: str) -> str:
    parts = {
        "options": _option_lines(),
        "keys": _key_lines(),
        "flags": _flag_lines(),
        "what": _wrapped("", _WHAT),
        "again": _wrapped("", _AGAIN),
        "marks": _wrapped("", _KEY_MARKS),
        "statuses": _wrapped("", _STATUSES),
    }
    return _HELP.format(program=program, **{name: "\n".join(lines) for name, lines in parts.items()})


def _option_lines() -> Iterator[str]:
    width = max(map(len, GROUPS))
    for group in GROUPS:
        yield from _wrapped(f"  {group:{width}}  ", ", ".join(option_names(group)))


def _key_lines() -> Iterator[str]:
    width = max(map(len, KEYS))
    for name, key in KEYS.items():
        mark = f"({_MARKS[key.facts.changes]}) " if _MARKS[key.facts.changes] else ""
        yield from _wrapped(f"  {name:{width}}  ", mark + "; ".join(key.texts()))


def _flag_lines() -> Iterator[str]:
    width = max(map(len, _FLAGS))
    for flag, text in _FLAGS.items():
        yield from _wrapped(f"  {flag:{width}}  ", text)


def _wrapped(label: str, text: str) -> list[str]:
    width = min(_MOST_COLUMNS, max(2 * len(label), shutil.get_terminal_size((_MOST_COLUMNS, 0)).columns))
    return textwrap.wrap(text, width, initial_indent=label, subsequent_indent=" " * len(label), break_on_hyphens=False)


class _Arguments(argparse.Namespace):
    overrides: list[str]
    config_dir: Path | None
    multirun: bool
    cfg: str | None


def _rules(program: str, config_dir: Path | None) -> CallRules:
    """Return what the words of a call may be."""

    def find_group(word: str) -> str | None:
        return next((group for group in GROUPS if word in option_names(group, config_dir)), None)

    options = {"--quick": False, "--help": False, "--version": False, **options_of(train_parser(program))}
    return CallRules(program, options, is_key_or_group, find_group)


def _parsed(program: str, words: Sequence[str]) -> _Arguments:
    check_words(words, _rules(program, config_dir_of(words)))
    return train_parser(program).parse_intermixed_args(words, namespace=_Arguments())


def main(program: str = "python -m adabatch") -> int:
    """Compose the config of the command line, train, and return the exit status (the highest one of a multirun).

    Args:
        program: how the command is called, for its help.
    """
    prepare_streams()
    words = ["quick=true" if word == "--quick" else word for word in sys.argv[1:]]
    if not words or {"--help", "-h"} & set(words):
        print(_help_text(program), file=sys.stdout if words else sys.stderr)
        return EXIT_DONE if words else EXIT_USAGE
    if "--version" in words:
        print(VERSION)
        return EXIT_DONE
    if words[0] in ("-sc", "--shell-completion"):
        return _complete()
    try:
        return _train(_parsed(program, words))
    except ConfigError as error:
        complain(error)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _train(arguments: _Arguments) -> int:
    with composer():
        runs = each_run(arguments.overrides) if arguments.multirun else [arguments.overrides]
        if arguments.cfg:
            for words in runs:
                print(composed_text(words, arguments.config_dir), end="")
            return EXIT_DONE
        return max(_train_one(words, arguments.config_dir) for words in runs)


def _train_one(words: Sequence[str], config_dir: Path | None) -> int:
    """Train one run; a run whose config is wrong does not keep a multirun from the others."""
    try:
        return run_config(compose(words, config_dir))
    except ConfigError as error:
        complain(error)
        return EXIT_USAGE


def _complete() -> int:
    """Let Hydra complete a line for the shell; it composes no config for that."""
    register_schemas()
    hydra.main(config_path=str(CONF_DIR), config_name="train", version_base="1.3")(lambda _: None)()
    return EXIT_DONE
