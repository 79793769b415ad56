"""Sweeps and clusters: types and checks of the YAML files that only launch reads."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from omegaconf import MISSING

from adabatch.config.compose import unknown_key
from adabatch.config.keys import KEYS, suggestion
from adabatch.config.option_files import parse_yaml, read_yaml
from adabatch.config.quick import quick_name
from adabatch.config.schema import GROUPS
from adabatch.config.values import NUMBER, shortened, typed
from adabatch.errors import ConfigError
from adabatch.fields import require
from adabatch.files import CONF_DIR
from adabatch.reading import Unreadable, read_text, reason
from launch.cluster_config import ClusterConfig
from launch.time_limit import refuse_time_as_minutes

#: Valid names of sweeps, arms and options: a folder with such a name stays within its parent.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_SAFE_NAME_TEXT = "letters, digits and _ . + -, beginning with a letter, digit or _"
_TWIN = re.compile(r"\s*twin\(\s*([^()\s]+)\s*\)\s*")
#: The keys that hold mappings, of which a call may set one entry.
_MAPPINGS = ("grid", "arms", "exceptions", "sbatch", "retry", "time")
#: The keys of clusters below which a number is text, as SLURM gets it: 4:00:00 is a time, and no number.
_SPELLED = ("time", "timeout_min", "gpus_per_node", "sbatch", "srun")
Words = Mapping[str, str]
#: What a value looks like, by key.
_EXAMPLES = {
    "overrides": "[network=tiny_cnn, num_epochs=20]",
    "grid": "{network: [alexnet, resnet20]}; names that are numbers need quotes",
    "seeds": "[0, 1, 2]",
    "arms": "{small: [schedule=fixed], growing: [schedule=adabatch]}; names that are numbers need quotes",
    "exceptions": "{network=alexnet: {small: [optimizer.learning_rate=0.01]}}",
    "baseline": "small, one of sweep.arms",
    "target": "0.925",
    "margin": "0.5",
    "smallest_effect": "0.02",
    "retry": "{memory: 2x, time: 2x}",
    "gpus_per_node": "2 or a100:2",
    "sbatch": "{exclude: n3, mail_type: END}",
    "srun": "[--container-image=IMAGE]",
    "setup": "[module load cuda]",
}


@dataclass
class SweepConfig:
    """Arms x grid x seeds. ``overrides`` apply to all runs, an arm's own to its runs, grid values to their grid point.

    An arm is a list of overrides, or ``twin(ARM)``: that arm with its schedule replaced by the fixed-batch twin.
    ``exceptions`` are overrides of an arm for one grid value: ``{network=alexnet: {ARM: [...]}}``.
    What results are judged by is declared before the runs: ``target`` is the test accuracy to reach, as a fraction
    (null: derived from the baseline's results); ``margin`` is how many points worse are still acceptable;
    ``smallest_effect`` is the smallest speedup worth naming, as a share.
    """

    name: str = MISSING
    overrides: list[str] = field(default_factory=list)
    grid: dict[str, Any] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    baseline: str = MISSING
    arms: dict[str, Any] = field(default_factory=dict)
    exceptions: dict[str, Any] = field(default_factory=dict)
    target: float | None = None
    margin: float = 1.0
    smallest_effect: float = 0.02

    def __post_init__(self) -> None:
        require_safe_name("sweep.name", self.name)
        require(len(self.seeds) > 0, "sweep.seeds", self.seeds, "a list of at least one seed")
        require(len(set(self.seeds)) == len(self.seeds), "sweep.seeds", self.seeds, "a list without duplicates")
        allowed = KEYS["seed"].facts.allowed
        if allowed is not None:
            within = all(map(allowed.allows, self.seeds))
            require(within, "sweep.seeds", self.seeds, f"a list of seeds {allowed.text}")
        require(len(self.arms) > 0, "sweep.arms", "empty", "a mapping from at least one arm to its overrides")
        for arm, overrides in self.arms.items():
            require_safe_name("sweep.arms' name", arm)
            self._check_arm(arm, overrides)
        require(self.target is None or 0 < self.target <= 1, "sweep.target", self.target, "null or a fraction up to 1")
        require(0 < self.margin < 100, "sweep.margin", self.margin, "between 0 and 100 percentage points")
        effect = self.smallest_effect
        require(0 <= effect < 1, "sweep.smallest_effect", effect, "a share of at least 0 and less than 1")
        known = ", ".join(self.arms)
        require(self.baseline in self.arms, "sweep.baseline", self.baseline, f"one of the arms {known}")
        for key, values in self.grid.items():
            require(
                isinstance(values, list) and len(values) > 0,
                f"sweep.grid.{key}",
                values,
                "a list of at least one value",
            )
            require(
                len({_identity(value) for value in values}) == len(values),
                f"sweep.grid.{key}",
                values,
                "without duplicates, also of numbers such as 0.1 and 1e-1",
            )
            if key in GROUPS:
                are_names = all(isinstance(value, str) for value in values)
                require(are_names, f"sweep.grid.{key}", values, f"a list of names of {key} options")
        for condition, exceptions in self.exceptions.items():
            self._check_exceptions(f"sweep.exceptions.{condition}", exceptions)

    def _check_exceptions(self, key: str, exceptions: object) -> None:
        own = [arm for arm, overrides in self.arms.items() if twin_source(overrides) is None]
        allowed = f"a mapping from arms with their own overrides ({', '.join(own)}) to lists of overrides"
        require(isinstance(exceptions, dict) and set(exceptions) <= set(own), key, exceptions, allowed)
        if isinstance(exceptions, dict):
            for arm, overrides in exceptions.items():
                is_list = isinstance(overrides, list) and all(isinstance(word, str) for word in overrides)
                require(is_list, f"{key}.{arm}", overrides, "a list of overrides")

    def _check_arm(self, arm: str, overrides: object) -> None:
        source = twin_source(overrides)
        if source is not None:
            arms = ", ".join(name for name, other in self.arms.items() if twin_source(other) is None)
            is_arm = source in self.arms and twin_source(self.arms[source]) is None
            require(is_arm, f"sweep.arms.{arm}", overrides, f"the twin of an arm with its own overrides ({arms})")
            return
        is_list = isinstance(overrides, list) and all(isinstance(word, str) for word in overrides)
        require(is_list, f"sweep.arms.{arm}", overrides, "a list of overrides such as [schedule=fixed], or twin(ARM)")


def _identity(value: object) -> str:
    """Return the same text for two values of a grid that mean the same; 1, 1.0 and "1" do."""
    if isinstance(value, list):
        return f"[{','.join(map(_identity, value))}]"
    text = str(value)
    return str(float(text) + 0.0) if NUMBER.fullmatch(text) else text  # adding 0 makes -0.0 equal to 0.0


def twin_source(overrides: object) -> str | None:
    """Return ARM of ``twin(ARM)``; None for an arm with its own overrides."""
    match = _TWIN.fullmatch(overrides) if isinstance(overrides, str) else None
    return match.group(1) if match else None


Group = TypeVar("Group", SweepConfig, ClusterConfig)


def require_safe_name(key: str, name: object) -> None:
    """Raise ConfigError unless ``name`` can be a folder's name and stays within its parent."""
    is_safe = isinstance(name, str) and SAFE_NAME.fullmatch(name) is not None
    require(is_safe, key, name, f"a name of {_SAFE_NAME_TEXT}, so that its folder stays within the runs folder")


def load_sweep(name: str, words: Words, config_dir: Path | None = None) -> SweepConfig:
    """Read ``sweep/NAME.yaml`` and set the keys of ``words`` (``seeds`` -> ``[0,1]``, ``grid.network`` -> ...).

    Raises:
        ConfigError: for an unknown sweep, key or value.
    """
    return _load(SweepConfig, "sweep", name, words, config_dir)


def saved_sweep(path: Path) -> SweepConfig:
    """Read ``sweep.yaml`` of a submitted sweep.

    Raises:
        ConfigError: if it cannot be read, or for an unknown key or value.
    """
    try:
        text = read_text(path)
    except (OSError, Unreadable) as error:
        raise ConfigError(f"{path} cannot be read: {reason(error)}.") from error
    return _config(SweepConfig, "sweep", path, parse_yaml(text, str(path)), {})


def quick_sweep(sweep: SweepConfig) -> SweepConfig:
    """Return a sweep for a quick look: every arm, the first value of each key of the grid, the first seed."""
    grid = {key: values[:1] for key, values in sweep.grid.items()}
    kept = {f"{key}={value}" for key, values in grid.items() for value in values}
    return dataclasses.replace(
        sweep,
        name=quick_name(sweep.name),
        overrides=[*sweep.overrides, "quick=true"],
        grid=grid,
        seeds=sweep.seeds[:1],
        exceptions={condition: arms for condition, arms in sweep.exceptions.items() if condition in kept},
    )


def load_cluster(name: str, words: Words, config_dir: Path | None = None) -> ClusterConfig:
    """Read ``cluster/NAME.yaml`` and set the keys of ``words`` (``timeout_min`` -> ``60``).

    Raises:
        ConfigError: for an unknown cluster, key or value.
    """
    return _load(ClusterConfig, "cluster", name, words, config_dir)


def option_path(group: str, name: str, config_dir: Path | None) -> Path:
    """Return the YAML file of a sweep or cluster; the user's folder takes precedence."""
    folders = [folder / group for folder in (config_dir, CONF_DIR) if folder is not None]
    for folder in folders:
        if SAFE_NAME.fullmatch(name) and (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    own = "" if config_dir else f" With --config-dir DIR it can also be one of your own, DIR/{group}/NAME.yaml."
    raise ConfigError(f"{group} is {name}; it must be one of {', '.join(known)}.{suggestion(name, known)}{own}")


def _load(schema: type[Group], group: str, name: str, words: Words, config_dir: Path | None) -> Group:
    path = option_path(group, name, config_dir)
    return _config(schema, group, path, read_yaml(path, _SPELLED), words)


def _config(schema: type[Group], group: str, path: Path, values: object, words: Words) -> Group:
    """Return what a file's values, and those of the call, say of a sweep or cluster."""
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no mapping; it must hold the keys and values of a {group}.")
    entries = {entry.name: entry for entry in dataclasses.fields(schema)}
    for key in values:
        _check_known(group, list(entries), str(key))
    for key, text in words.items():
        _set(values, group, list(entries), key, _value(schema, group, key, text))
    if schema is ClusterConfig:
        _choose_time_limit(values, words)
    given = typed(schema, {str(key): value for key, value in values.items()}, f"{group}.", _EXAMPLES)
    for key, entry in entries.items():
        if key not in given and entry.default == MISSING:
            raise ConfigError(f"{group}.{key} has no value; give it one with {group}.{key}=VALUE.")
    return schema(**given)


def _choose_time_limit(values: dict[str, Any], words: Words) -> None:
    """Let the time limit of the call, however it is spelled, replace the file's."""
    given = {key.partition(".")[0] for key in words}
    for asked, other in (("time", "timeout_min"), ("timeout_min", "time")):
        if asked in given and other not in given:
            values.pop(other, None)
    refuse_time_as_minutes(values.get("timeout_min"))


def _check_known(group: str, known: Sequence[str], key: str) -> None:
    first, _, rest = key.partition(".")
    if first not in known or (rest and first not in _MAPPINGS):
        raise ConfigError(unknown_key(f"{group}.{shortened(first)}", known, f"{group}."))


def _value(schema: type[Any], group: str, key: str, text: str) -> Any:
    """Return the value that a text of the command line stands for: YAML, unless the key's value is a text anyway."""
    declared = get_type_hints(schema).get(key)
    is_null = declared == str | None and text.strip() in ("", "~", "null")
    if declared in (str, str | None) and not is_null and text[:1] not in ("'", '"'):
        return text.strip()
    return parse_yaml(text, f"{group}.{shortened(key)}", None if key.partition(".")[0] in _SPELLED else ())


def _set(values: dict[str, Any], group: str, known: Sequence[str], key: str, value: Any) -> None:
    """Set ``key`` to a value. What follows the first dot of a mapping's key is one key."""
    _check_known(group, known, key)
    first, _, rest = key.partition(".")
    if rest:
        before = values.get(first) or {}
        if not isinstance(before, dict):
            raise ConfigError(f"{group}.{first} is {shortened(before)}; it must be a mapping.")
        values[first] = {**before, rest: value}
    else:
        values[first] = value
