"""From a sweep to the list of its runs."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from adabatch.config import TrainConfig
from adabatch.errors import ConfigError
from launch.composition import SweepComposer, key_of, last_of_each_key, sweep_composer
from launch.config import SweepConfig, twin_source

_SAFE_LEVEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,=+\[\]-]*")
#: Texts that Hydra takes as they are.
_BARE = re.compile(r"[A-Za-z0-9_./:+-]+")
#: A sweep of more runs is a mistake.
_MOST_RUNS = 100_000
#: Keys that launch sets for each run.
_RESERVED = {
    "seed": "sweep.seeds lists the seeds of all arms",
    "run_dir": "each run of a sweep has its own folder under --runs-dir",
}


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
        arm: name of the arm's folder: the arm and every swept value except network and data set.
        cell: name of the cell's folder: data set and network.
        swept: the grid values of this run, by key.
        baseline: the arm folder that this run is compared with.
    """

    arm: str
    cell: str
    seed: int
    swept: dict[str, Any]
    baseline: str
    config: TrainConfig
    run_dir: Path

    @property
    def name(self) -> str:
        """The run's path below the sweep's folder."""
        return f"{self.cell}/{self.arm}/seed_{self.seed}"


@dataclass(frozen=True)
class Expansion:
    """A sweep and its runs, ordered by cell, then seed, then arm, so compared arms run close in time."""

    sweep: SweepConfig
    folder: Path
    runs: list[Run]


def expand(sweep: SweepConfig, overrides: Sequence[str], runs_dir: Path, config_dir: Path | None = None) -> Expansion:
    """Compose every run of a sweep.

    Args:
        overrides: of the call; they apply to all runs and take precedence over the sweep's own.
        runs_dir: the folder that holds the sweep's folder.
        config_dir: the user's own options, in addition to ``conf/``.

    Raises:
        ConfigError: if an override is invalid, an exception matches nothing, or two arms or runs are the same.
    """
    _check_keys(sweep, overrides)
    num_runs = math.prod(map(len, (sweep.arms, sweep.seeds, *sweep.grid.values())))
    if num_runs > _MOST_RUNS:
        raise ConfigError(f"the sweep {sweep.name} has {num_runs:,} runs; it must have at most {_MOST_RUNS:,}.")
    folder = Path(runs_dir) / sweep.name
    runs: list[Run] = []
    with sweep_composer(config_dir) as composer:
        for values in itertools.product(*sweep.grid.values()):
            swept = dict(zip(sweep.grid, values, strict=True))
            runs += _expand_point(sweep, swept, overrides, composer, folder)
    shared = {run.run_dir: run for run in runs}
    if len(shared) < len(runs):
        twice = next(run for run in runs if shared[run.run_dir] is not run)
        raise ConfigError(
            f"two runs of the sweep share the folder {twice.run_dir}; the grid must give them different folders."
        )
    runs.sort(key=lambda run: (run.cell, sweep.seeds.index(run.seed)))
    return Expansion(sweep, folder, runs)


def _check_keys(sweep: SweepConfig, overrides: Sequence[str]) -> None:
    arms = [(f"sweep.arms.{name}", words) for name, words in sweep.arms.items() if twin_source(words) is None]
    groups = [("the call", list(overrides)), ("sweep.overrides", sweep.overrides), *arms]
    for condition, exceptions in sweep.exceptions.items():
        if condition not in {_override(key, value) for key, values in sweep.grid.items() for value in values}:
            raise ConfigError(f"sweep.exceptions holds {condition}; it must be key=value of a value in the grid.")
        groups += [(f"sweep.exceptions.{condition}.{arm}", words) for arm, words in exceptions.items()]
    for where, words in [*groups, ("sweep.grid", [f"{key}=" for key in sweep.grid])]:
        for word in words:
            if "=" not in word and not word.startswith("~"):
                raise ConfigError(f"{where} holds {word}; an override must have the form key=value.")
            if key_of(word) in _RESERVED:
                raise ConfigError(f"{where} sets {key_of(word)}; it must not, because {_RESERVED[key_of(word)]}.")
            if where not in ("sweep.grid", "sweep.overrides") and key_of(word) in sweep.grid:
                raise ConfigError(
                    f"{where} sets {key_of(word)}, which the grid sweeps; set sweep.grid.{key_of(word)}=[...] instead."
                )


def _expand_point(
    sweep: SweepConfig, swept: dict[str, Any], call: Sequence[str], composer: SweepComposer, folder: Path
) -> list[Run]:
    """Return the runs of one grid point: arms x seeds."""
    grid = [_override(key, value) for key, value in swept.items()]
    suffix = "".join(f",{word}" for word in grid if key_of(word) not in ("network", "dataset"))
    words = {
        arm: last_of_each_key([*sweep.overrides, *grid, *own, *_exceptions(sweep, arm, grid), *call])
        for arm, own in sweep.arms.items()
        if twin_source(own) is None
    }
    configs = {arm: _compose_arm(arm, arm_words, composer) for arm, arm_words in words.items()}
    for arm, own in sweep.arms.items():
        source = twin_source(own)
        if source is not None:
            words[arm] = words[source]
            configs[arm] = _twin_of(arm, configs[source])
    _refuse_equal_arms(configs)
    runs = []
    for seed, arm in itertools.product(sweep.seeds, sweep.arms):
        config = configs[arm]
        cell = _safe_level(f"{_option('dataset', words[arm], config)}-{_option('network', words[arm], config)}")
        level = _safe_level(arm + suffix)
        run_dir = folder / cell / level / f"seed_{seed}"
        config = dataclasses.replace(config, seed=seed, run_dir=str(run_dir))
        runs.append(Run(level, cell, seed, swept, sweep.baseline + suffix, config, run_dir))
    return runs


def _exceptions(sweep: SweepConfig, arm: str, grid: Sequence[str]) -> list[str]:
    """Return the overrides that an arm has only at this grid point."""
    return [word for condition, arms in sweep.exceptions.items() if condition in grid for word in arms.get(arm, [])]


def _compose_arm(arm: str, words: Sequence[str], composer: SweepComposer) -> TrainConfig:
    try:
        return composer.compose(words)
    except ConfigError as error:
        raise ConfigError(f"arm {arm}: {error}") from error


def _twin_of(arm: str, config: TrainConfig) -> TrainConfig:
    try:
        return dataclasses.replace(config, schedule=config.schedule.twin())
    except TypeError as error:
        raise ConfigError(f"arm {arm} cannot be generated: {error}.") from error


def _refuse_equal_arms(configs: dict[str, TrainConfig]) -> None:
    for (one, first), (other, second) in itertools.combinations(configs.items(), 2):
        if first == second:
            raise ConfigError(f"the arms {one} and {other} have equal configs; each arm must differ from the others.")


def _override(key: str, value: object) -> str:
    """Return ``key=value`` as Hydra reads it; there are no spaces but those in texts."""
    return f"{key}={_in_flow(value)}"


def _in_flow(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_in_flow, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_in_flow(entry)}" for key, entry in value.items()) + "}"
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9).removesuffix("...\n").strip()
    if not isinstance(value, str) or (text == value and _BARE.fullmatch(text)):
        return text
    # Hydra's quotes, in which a backslash counts only before a quote or at the end.
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def _option(group: str, words: Sequence[str], config: TrainConfig) -> str:
    """Return the chosen option's name; if none was chosen, the name in the default option."""
    name = str(getattr(config, group).name)
    chosen = [word.split("=", 1)[1].strip() for word in words if key_of(word) == group]
    is_family = bool(chosen) and name.startswith(f"{chosen[-1]}.")  # network=torchvision covers many networks
    is_path = bool(chosen) and ":" in chosen[-1]
    return chosen[-1] if chosen and not is_family and not is_path else name


def _safe_level(name: str) -> str:
    if not _SAFE_LEVEL.fullmatch(name):
        raise ConfigError(
            f"the folder name {name} is not allowed; swept values must consist of letters, digits and _ . , = + - [ ], "
            "so that each run's folder stays within the runs folder."
        )
    return name
