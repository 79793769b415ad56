"""The installed command: ``adabatch VERB ...``.

A verb is an entry point of the group ``adabatch.verbs``, of this package or of any other that is installed: a function
without arguments that reads ``sys.argv`` as a console script does, and returns the exit status. Its docstring is its
help: one line, and, after a blank one, examples. Listing the verbs imports the modules that hold them, so these are
light and import what they need when they are called.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from adabatch.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, ConfigError
from adabatch.files import SOURCE_DIR
from adabatch.shell.completion import complete, is_asked
from adabatch.terminal import complain, prepare_streams
from adabatch.verb_help import VERSION, Verb, summary, verb_lines

#: The group of entry points in which packages declare verbs.
GROUP = "adabatch.verbs"
#: The verbs by purpose, in the order of their use; those of other packages follow alphabetically.
_PURPOSES = {
    "train": ("train", "plan", "submit", "rerun", "cancel"),
    "watch": ("status", "wait", "logs", "dashboard"),
    "compare": ("tables", "report", "figure", "scorecard"),
    "bring runs in": ("import-csv", "read-wandb", "fetch-wandb"),
    "check and set up": ("verify-resume", "completion"),
}
_OTHERS = "of other packages"
_HELP = """\
usage: adabatch VERB ...

Trains networks with fixed and with growing batches, here or on a cluster, and
compares them.

{verbs}

  adabatch VERB --help    what a verb does and takes
  adabatch --version      the installed version

Exit status: 0 done, 1 a run or a check failed, 2 invalid call or config, 3 none
failed and not all are done, 75 stopped by a signal with its state saved, 130 by
Ctrl-C.
"""


def main() -> int | None:
    """Run the verb that the command line names, and return its exit status."""
    prepare_streams()
    if is_asked():
        complete(find_verbs(), _load)
    first, *others = sys.argv[1:] or [""]
    if first in ("", "-h", "--help", "help"):
        print(_help_text(), end="", file=sys.stdout if first else sys.stderr)
        return EXIT_DONE if first else EXIT_USAGE
    if first == "--version":
        print(VERSION)
        return EXIT_DONE
    sys.argv = [f"adabatch {first}", *others]
    try:
        return _load(_find(first, find_verbs()))()
    except ConfigError as error:
        complain(error)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def find_verbs() -> dict[str, EntryPoint]:
    """Return the verbs of the installed packages by name, in the order of the help; none of them is imported."""
    # Another package cannot replace a verb of ours.
    by_name = {entry.name: entry for entry in sorted(entry_points(group=GROUP), key=_is_ours)}
    known = [name for names in _PURPOSES.values() for name in names if name in by_name]
    return {name: by_name[name] for name in [*known, *sorted(by_name.keys() - set(known))]}


def _is_ours(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == "adabatch"


def _find(name: str, verbs: dict[str, EntryPoint]) -> EntryPoint:
    if name in verbs:
        return verbs[name]
    if "=" in name:
        raise ConfigError(f"{name} is not a verb; to train with it: adabatch train {name}")
    from adabatch.config.keys import suggestion

    raise ConfigError(f"unknown verb {name}.{suggestion(name, list(verbs))} All verbs: adabatch --help.")


def _load(entry: EntryPoint) -> Verb:
    """Import a verb.

    Meanwhile the folder that holds this package comes first, so that a folder ``launch`` or ``analysis`` to which the
    user's PYTHONPATH leads is not taken for ours.

    Raises:
        ConfigError: if it cannot be imported.
    """
    sys.path.insert(0, str(SOURCE_DIR))
    try:
        verb: Verb = entry.load()
    except (ImportError, AttributeError) as error:
        package = entry.dist.name if entry.dist else entry.value
        raise ConfigError(f"the verb {entry.name} of the package {package} cannot be loaded: {error}.") from error
    finally:
        sys.path.remove(str(SOURCE_DIR))
    return verb


def _help_text() -> str:
    summaries = dict(_summaries())
    known = {purpose: [name for name in names if name in summaries] for purpose, names in _PURPOSES.items()}
    known[_OTHERS] = [name for name in summaries if not any(name in names for names in known.values())]
    line_of = verb_lines(summaries)
    blocks = [[f"{purpose}:", *(line_of[name] for name in names)] for purpose, names in known.items() if names]
    return _HELP.format(verbs="\n\n".join("\n".join(block) for block in blocks))


def _summaries() -> Iterator[tuple[str, str]]:
    for name, entry in find_verbs().items():
        try:
            yield name, summary(_load(entry))
        except ConfigError as error:
            yield name, f"({error})"
