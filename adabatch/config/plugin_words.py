"""Overrides that name a plug-in, in words that Hydra understands.

``network=my_net:Net`` becomes ``network=by_path network.path=my_net:Net``; so does the registered name of a plug-in.
``network.args.width=32`` becomes ``++network.args.width=32``, since the arguments of a plug-in are not in the schema;
so do names of metrics. A mapping such as ``hardware.devices`` is given as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from adabatch.plugins.kinds import NAME_KEYS, Kind
from adabatch.plugins.names import registered_path

#: The option of each group that stands for all plug-ins.
BY_PATH = "by_path"
_CHOICE = re.compile(rf"({'|'.join(Kind)})=(.*)", re.DOTALL)
#: Keys that the schema does not have: arguments of plug-ins, and metrics by name.
_FREE = re.compile(rf"(({'|'.join(Kind)})\.args|metrics)\.")

#: A key of a mapping whose entries the schema does not name.
_MAPPING = re.compile(r"hardware\.devices\s*=\s*\{")


def plugin_words(words: Sequence[str], is_option: Callable[[str, str], bool]) -> list[str]:
    """Return overrides in which plug-ins are named as the schema has it; of several choices of a group only the last.

    Args:
        is_option: whether a group has an option of a name; options go before registered names.
    """
    chosen = {choice.group(1): word for word in words if (choice := _CHOICE.fullmatch(word))}
    kept = [word for word in words if not (choice := _CHOICE.fullmatch(word)) or chosen[choice.group(1)] == word]
    return [rewritten for word in kept for rewritten in _rewritten(word, is_option)]


def _rewritten(word: str, is_option: Callable[[str, str], bool]) -> Iterator[str]:
    choice = _CHOICE.fullmatch(word)
    if _FREE.match(word):
        yield f"++{word}"
    elif _MAPPING.match(word):  # it replaces what an option says; Hydra would put the two together
        yield from (f"{word.partition('=')[0]}=null", word)
    elif choice is None:
        yield word
    else:
        yield from _chosen(Kind(choice.group(1)), choice.group(2).strip(), word, is_option)


def _chosen(kind: Kind, value: str, word: str, is_option: Callable[[str, str], bool]) -> Iterator[str]:
    if ":" in value:
        yield from (f"{kind}={BY_PATH}", f"{kind}.path={value.strip(chr(34) + chr(39))}")
        return
    path = registered_path(kind, value) if value.isidentifier() and not is_option(kind, value) else None
    if path is None:
        yield word
    else:
        yield from (f"{kind}={BY_PATH}", f"{kind}.path={path}", f"{kind}.{NAME_KEYS[kind]}={value}")
