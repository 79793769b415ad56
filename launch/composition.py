"""Composes the configs of many runs in the time of a few.

Hydra takes about a tenth of a second per config. The runs of a sweep share their options, and most options affect only
their own group. So Hydra composes each option once, the resulting groups are combined, and OmegaConf sets overrides of
single values, with the same types and checks. Options that affect other groups, other kinds of overrides, and invalid
overrides go to Hydra itself, so results and errors are those of ``python -m adabatch``.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from adabatch.config import TrainConfig
from adabatch.config.compose import (
    compose,
    composer,
    hydra_config,
    search_words,
    to_config,
    translated_errors,
    words_for_hydra,
)
from adabatch.config.schema import GROUPS

#: What Hydra and OmegaConf raise for words that they do not take.
_REFUSALS = (OmegaConfBaseException, HydraException, ValueError, TypeError, AttributeError, OSError, RecursionError)


@contextmanager
def sweep_composer(config_dir: Path | None) -> Iterator[SweepComposer]:
    """Yield a composer for the runs of a sweep; Hydra stays initialized within the block."""
    with composer():
        yield SweepComposer(config_dir)


class SweepComposer:
    """Composes configs as `adabatch.config.compose.compose` does, but fast for many that share options."""

    def __init__(self, config_dir: Path | None) -> None:
        self._config_dir = config_dir
        self._parser = OverridesParser.create()
        self._parsed: dict[str, Override] = {}
        self._nodes: dict[tuple[str, str] | None, DictConfig | None] = {}

    def compose(self, overrides: Sequence[str]) -> TrainConfig:
        """Return the config of a run.

        Raises:
            ConfigError: for an unknown option, key or value; the sentence names it and what is allowed.
        """
        try:
            composed = self._assemble(words_for_hydra(overrides, self._config_dir))
        except _REFUSALS:  # told by Hydra
            composed = None
        if composed is None:
            return compose(overrides, self._config_dir)
        with translated_errors(overrides, self._config_dir):
            return to_config(composed)

    def _assemble(self, overrides: Sequence[str]) -> DictConfig | None:
        """Return the config without calling Hydra if possible, otherwise None."""
        parsed = [self._parse(text) for text in overrides]
        choices = {entry.key_or_group: entry for entry in parsed if entry.key_or_group in GROUPS}
        values = [entry for entry in parsed if entry.key_or_group not in GROUPS]
        if not all(map(_is_plain, parsed)) or any(not isinstance(entry.value(), str) for entry in choices.values()):
            return None
        base = self._option(None)
        if base is None:
            return None
        composed = copy.copy(base)
        for group, entry in choices.items():
            node = self._option((group, str(entry.value())))
            if node is None:
                return None
            composed[group] = node[group]
        composed = copy.deepcopy(composed)
        for entry in values:
            OmegaConf.update(composed, entry.key_or_group, entry.value(), merge=True, force_add=entry.is_force_add())
        return composed

    def _parse(self, text: str) -> Override:
        if text not in self._parsed:
            self._parsed[text] = self._parser.parse_override(text)
        return self._parsed[text]

    def _option(self, choice: tuple[str, str] | None) -> DictConfig | None:
        """Return the config with one option, or none, chosen; None if the option affects other groups."""
        if choice not in self._nodes:
            words = search_words(self._config_dir) + ([] if choice is None else [f"{choice[0]}={choice[1]}"])
            node: DictConfig | None = hydra_config(words)
            if choice is not None and node is not None:
                base = self._option(None)
                others = [str(key) for key in node if key != choice[0]]
                if base is None or list(base) != list(node) or _differ(base, node, others):
                    node = None
            self._nodes[choice] = node
        return self._nodes[choice]


def _is_plain(entry: Override) -> bool:
    is_change = not (entry.is_add() or entry.is_delete() or entry.is_sweep_override())
    return is_change and entry.package is None and not entry.key_or_group.startswith("hydra")


def _raw(config: DictConfig, key: str) -> Any:
    node = config._get_node(key)
    return OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node._value()  # type: ignore


def _differ(one: DictConfig, other: DictConfig, keys: Iterable[str]) -> bool:
    return any(_raw(one, key) != _raw(other, key) for key in keys)


@functools.cache
def key_of(override: str) -> str:
    """Return the key that an override sets: ``optimizer.learning_rate`` of ``optimizer.learning_rate=0.1``."""
    return override.lstrip("+~").split("=", 1)[0].strip()


def last_of_each_key(overrides: Iterable[str]) -> list[str]:
    """Return the overrides without those that a later one of the same key replaces."""
    latest = {key_of(text): text for text in overrides}
    return list(latest.values())
