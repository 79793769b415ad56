"""The trainer, a Hydra app over ``conf/``: ``adabatch train`` or ``python -m adabatch``, and ``key=value ...``."""

from __future__ import annotations

import os
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from adabatch.call_words import CallRules, check_words, config_dir_of
from adabatch.config import CONF_DIR
from adabatch.config.compose import option_names, register_schemas, to_config, translated_errors, words_for_hydra
from adabatch.config.keys import KEYS, is_key_or_group
from adabatch.config.schema import GROUPS
from adabatch.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, ConfigError
from adabatch.fields import Changes
from adabatch.run import run_config
from adabatch.verb_help import VERSION

_HELP = """\
Trains one network on one data set under one schedule of batch size and learning rate.

  {program} network=resnet20 dataset=fashion_mnist schedule=adabatch seed=1
  {program} network=tiny_cnn dataset=digits num_epochs=20 schedule.batch_size=16
  {program} -m seed=1,2,3            several runs, one after another

Repeating the command resumes an interrupted run and leaves a finished one as it is.

Choose an option of a group with group=option:

{options}

Set a value with key=value. A key marked (time) affects only how long a run takes, one marked (-)
does not affect its results; brackets hold the allowed values:

{keys}

  --quick            end within about a minute, with few samples and epochs; it proves nothing
  --cfg job          print the composed config, without training
  --config-dir DIR   add your own options: DIR/dataset/NAME.yaml and so on
  --help             this page, which a call without arguments shows, too
  --version          the installed version

Exit status: 0 done, 1 failed, 2 invalid call or config, 75 stopped by a signal with its state saved, 130 by Ctrl-C.
"""
_MARKS = {Changes.RESULT: "", Changes.TIME: "time", Changes.NOTHING: "-"}
_WIDTH = 100
#: Our options and Hydra's, and whether a value follows.
_OPTIONS = {
    **dict.fromkeys(("--quick", "--help", "-h", "--hydra-help", "--version", "--resolve"), False),
    **dict.fromkeys(("--run", "-r", "--multirun", "-m", "--shell-completion", "-sc"), False),
    **dict.fromkeys(("--cfg", "-c", "--package", "-p", "--info", "-i", "--experimental-rerun"), True),
    **dict.fromkeys(("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn"), True),
}


def _help_text(program: str) -> str:
    return _HELP.format(program=program, options="\n".join(_option_lines()), keys="\n".join(_key_lines()))


def _option_lines() -> Iterator[str]:
    width = max(map(len, GROUPS))
    for group in GROUPS:
        yield from _wrapped(f"  {group:{width}}  ", ", ".join(option_names(group)))


def _key_lines() -> Iterator[str]:
    width = max(map(len, KEYS))
    for name, key in KEYS.items():
        mark = f"({_MARKS[key.facts.changes]}) " if _MARKS[key.facts.changes] else ""
        yield from _wrapped(f"  {name:{width}}  ", mark + "; ".join(key.texts()))


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=label, subsequent_indent=" " * len(label))


def _rules(program: str, config_dir: Path | None) -> CallRules:
    """Return what the words of a call may be."""

    def find_group(word: str) -> str | None:
        return next((group for group in GROUPS if word in option_names(group, config_dir)), None)

    return CallRules(program, _OPTIONS, is_key_or_group, find_group)


def main(program: str = "python -m adabatch") -> int:
    """Compose the config of the command line, train, and return the exit status (the highest one of a multirun).

    Args:
        program: how the command is called, for its help.
    """
    words = ["quick=true" if word == "--quick" else word for word in sys.argv[1:]]
    if not words:
        print(_help_text(program), file=sys.stderr)
        return EXIT_USAGE
    if "--version" in words:
        print(VERSION)
        return EXIT_DONE
    try:
        config_dir = config_dir_of(words)
        check_words(sys.argv[1:], _rules(program, config_dir))
        sys.argv[1:] = words_for_hydra(words, config_dir)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    return _train(program)


def _train(program: str) -> int:
    register_schemas()
    # Otherwise Hydra prints its exceptions and exits; here they become ConfigError.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    scratch = tempfile.TemporaryDirectory(prefix="adabatch-")
    OmegaConf.register_new_resolver("adabatch.scratch", lambda: scratch.name, replace=True)
    OmegaConf.register_new_resolver("adabatch.help", lambda: _help_text(program), replace=True)
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    statuses = []

    @hydra.main(config_path=str(CONF_DIR), config_name="train", version_base="1.3")
    def task(composed: DictConfig) -> None:
        try:
            with translated_errors(words):
                statuses.append(run_config(to_config(composed)))
        except ConfigError as error:  # Hydra would print a line before it
            print(error, file=sys.stderr)
            statuses.append(EXIT_USAGE)

    try:
        with scratch, translated_errors(words):
            task()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return max(statuses, default=EXIT_DONE)
