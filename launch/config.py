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
from adabatch.fields import require, require_choice
from adabatch.files import CONF_DIR
from adabatch.reading import Unreadable, read_text, reason

#: Valid names of sweeps, arms and options: a folder with such a name stays within its parent.
SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_SAFE_NAME_TEXT = "letters, digits and _ . + -, beginning with a letter, digit or _"
#: submitit's local executor starts a job six times and then silently drops it.
_MAX_LOCAL_RETRIES = 5
_TWIN = re.compile(r"\s*twin\(\s*([^()\s]+)\s*\)\s*")
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


@dataclass
class ClusterConfig:
    """Where runs run. ``local`` is this machine; ``slurm`` accepts the keys that sbatch has.

    Attributes:
        jobs: local only: number of concurrent jobs.
        runs_per_job: runs that share one job's devices at the same time; their times are marked as such.
        max_retries: how often a job is requeued after a time limit or a preemption; at most 5 on a local machine.
        timeout_min: time limit of a job in minutes; null on a local machine: none.
        signal_delay_s: how long before the limit a job is signalled to save its state and requeue; less than the limit.
        max_concurrent_jobs: cap on this sweep's concurrent jobs; null: none.
        gpus_per_node: null: one per rank and node where hardware.device is cuda, else none.
        cpus_per_task: cores of one rank; null: the cluster's default.
        memory_gb: memory of one node; null: the cluster's default.
        setup: shell commands that a job runs before Python, such as ``module load cuda``.
        python: the command that starts Python on the nodes; null: the submitting one.
    """

    kind: str = MISSING
    jobs: int = 1
    runs_per_job: int = 1
    max_retries: int = 3
    timeout_min: int | None = None
    signal_delay_s: int = 120
    max_concurrent_jobs: int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    memory_gb: float | None = None
    setup: list[str] = field(default_factory=list)
    python: str | None = None

    def __post_init__(self) -> None:
        require_choice("cluster.kind", self.kind, ("local", "slurm"))
        for key in ("jobs", "runs_per_job"):
            value = getattr(self, key)
            require(value >= 1, f"cluster.{key}", value, "at least 1")
        require(self.max_retries >= 0, "cluster.max_retries", self.max_retries, "at least 0")
        for key in ("timeout_min", "max_concurrent_jobs", "cpus_per_task"):
            value = getattr(self, key)
            require(value is None or value >= 1, f"cluster.{key}", value, "null or at least 1")
        gpus, memory = self.gpus_per_node, self.memory_gb
        require(gpus is None or gpus >= 0, "cluster.gpus_per_node", gpus, "null or at least 0")
        require(memory is None or memory > 0, "cluster.memory_gb", memory, "null or more than 0")
        for key in ("partition", "account", "qos", "constraint", "python"):
            self._check_word(key, getattr(self, key))
        for line in self.setup:
            require(
                "\n" not in line and line.strip() != "", "cluster.setup", self.setup, "a list of single shell lines"
            )
        self._check_kind()
        self._check_time_limit()

    @staticmethod
    def _check_word(key: str, value: str | None) -> None:
        allowed = "null or one line of printable characters"
        require(
            value is None or (value.strip() == value != "" and value.isprintable()),
            f"cluster.{key}",
            repr(value),
            allowed,
        )

    def _check_time_limit(self) -> None:
        """Check that a job is signalled after its start and before its limit; else it is killed unsaved."""
        if self.timeout_min is None:
            return
        limit_s = 60 * self.timeout_min
        allowed = f"between 10 and less than {limit_s}, the seconds of cluster.timeout_min={self.timeout_min}"
        require(10 <= self.signal_delay_s < limit_s, "cluster.signal_delay_s", self.signal_delay_s, allowed)

    def _check_kind(self) -> None:
        defaults = {entry.name: entry.default for entry in dataclasses.fields(self) if entry.name != "setup"}
        if self.kind == "slurm":
            require(
                self.jobs == 1,
                "cluster.jobs",
                self.jobs,
                "1 on SLURM, where cluster.max_concurrent_jobs limits concurrent jobs",
            )
            require(self.timeout_min is not None, "cluster.timeout_min", None, "a number of minutes on SLURM")
            return
        retries, allowed = self.max_retries, f"at most {_MAX_LOCAL_RETRIES} where cluster.kind is local"
        require(retries <= _MAX_LOCAL_RETRIES, "cluster.max_retries", retries, allowed)
        for key in (
            "partition",
            "account",
            "qos",
            "constraint",
            "gpus_per_node",
            "cpus_per_task",
            "memory_gb",
            "max_concurrent_jobs",
        ):
            value = getattr(self, key)
            require(value == defaults[key], f"cluster.{key}", value, "left out where cluster.kind is local")


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
    raise ConfigError(f"{group} is {name}; it must be one of {', '.join(known)}.{suggestion(name, known)}")


def _load(schema: type[Group], group: str, name: str, words: Words, config_dir: Path | None) -> Group:
    path = option_path(group, name, config_dir)
    return _config(schema, group, path, read_yaml(path), words)


def _config(schema: type[Group], group: str, path: Path, values: object, words: Words) -> Group:
    """Return what a file's values, and those of the call, say of a sweep or cluster."""
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no mapping; it must hold the keys and values of a {group}.")
    entries = {entry.name: entry for entry in dataclasses.fields(schema)}
    for key in values:
        _check_known(group, list(entries), str(key))
    for key, text in words.items():
        _set(values, group, list(entries), key, _value(schema, group, key, text))
    given = typed(schema, {str(key): value for key, value in values.items()}, f"{group}.", _EXAMPLES)
    for key, entry in entries.items():
        if key not in given and entry.default == MISSING:
            raise ConfigError(f"{group}.{key} has no value; give it one with {group}.{key}=VALUE.")
    return schema(**given)


def _check_known(group: str, known: Sequence[str], key: str) -> None:
    first, _, rest = key.partition(".")
    if first not in known or (rest and first not in ("grid", "arms", "exceptions")):
        raise ConfigError(unknown_key(f"{group}.{shortened(first)}", known, f"{group}."))


def _value(schema: type[Any], group: str, key: str, text: str) -> Any:
    """Return the value that a text of the command line stands for: YAML, unless the key's value is a text anyway."""
    declared = get_type_hints(schema).get(key)
    is_null = declared == str | None and text.strip() in ("", "~", "null")
    if declared in (str, str | None) and not is_null and text[:1] not in ("'", '"'):
        return text.strip()
    return parse_yaml(text, f"{group}.{shortened(key)}")


def _set(values: dict[str, Any], group: str, known: Sequence[str], key: str, value: Any) -> None:
    """Set ``key`` to a value. What follows ``grid.``, ``arms.``, ``exceptions.`` is one key."""
    _check_known(group, known, key)
    first, _, rest = key.partition(".")
    if rest:
        before = values.get(first) or {}
        if not isinstance(before, dict):
            raise ConfigError(f"{group}.{first} is {shortened(before)}; it must be a mapping.")
        values[first] = {**before, rest: value}
    else:
        values[first] = value
