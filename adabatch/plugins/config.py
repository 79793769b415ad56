"""The two config keys that a group has whose option may be the user's own: ``path`` and ``args``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from adabatch.fields import KeyGroup, key, require
from adabatch.plugins.kinds import NAME_KEYS, Kind

#: The hash rule that introduced plug-ins.
_HASH_RULE = 3


def path_key(**facts: Any) -> Any:
    """Return a dataclass field for the key ``path``; ``facts`` are those of `adabatch.fields.key`."""
    doc = "your own: an import path such as my_module:Name; null: chosen by name"
    return key(None, doc=doc, hash_rule=_HASH_RULE, **facts)


def args_key(**facts: Any) -> Any:
    """Return a dataclass field for the key ``args``; ``facts`` are those of `adabatch.fields.key`."""
    return key({}, doc="arguments of your own, such as {width: 32}", hash_rule=_HASH_RULE, **facts)


def require_path(kind: Kind, name: str, path: str | None) -> None:
    """Raise ConfigError unless a group has a name or a path."""
    allowed = "an import path of the form module:attribute, such as my_module:Name"
    require(bool(name) or path is not None, f"{kind}.path", None, allowed)


class PluginGroup(KeyGroup):
    """A group whose option may be the user's own; its dataclass has the fields ``path`` and ``args``."""

    KIND: ClassVar[Kind]
    path: str | None
    args: dict[str, Any]

    def __post_init__(self) -> None:
        key = f"{self.KIND}.path"
        name_key = NAME_KEYS[self.KIND]
        name = getattr(self, name_key)
        if self.path is None:
            require_path(self.KIND, name, self.path)
            require(not self.args, f"{self.KIND}.args", self.args, f"left out unless {key} is given")
        elif not name or name in self.own_names():
            setattr(self, name_key, ".".join(re.findall(r"[\w.-]+", self.path)))
        super().__post_init__()

    @classmethod
    def own_names(cls) -> Sequence[str]:
        """Return the names of adabatch's own options, which one by path cannot have."""
        return ()
