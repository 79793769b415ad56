"""The arguments of the verbs that concern one run, and of ``completion``. Needs little more than argparse."""

from __future__ import annotations

import argparse
from pathlib import Path

from adabatch.files import user_path

#: The shells whose completion there is.
SHELLS = ("bash", "zsh", "fish")


def train_parser(program: str) -> argparse.ArgumentParser:
    """Return the parser of a training, without the options that ``adabatch.command`` reads itself."""
    parser = argparse.ArgumentParser(prog=program, add_help=False, usage=f"{program} KEY=VALUE ...")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--config-dir", "-cd", type=user_path)
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job",))
    return parser


def add_verify_resume(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``verify-resume``."""
    parser.add_argument("--kills", type=int, default=5, help="how many times the second run is killed (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="seed for the moments of the kills (default 0)")
    parser.add_argument("--config-dir", type=Path, help="a folder with your own options")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="as for adabatch train; choose a short run")


def add_completion(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``completion``."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete lines")


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of what follows a verb, for the completion of lines."""
    if name == "train":
        parser = train_parser(name)
        for option in ("--quick", "--help", "--version"):
            parser.add_argument(option, action="store_true")
        return parser
    parser = argparse.ArgumentParser(prog=name)
    {"verify-resume": add_verify_resume, "completion": add_completion}[name](parser)
    return parser
