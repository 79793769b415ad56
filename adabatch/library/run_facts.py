"""What a recorded run is: its ``config.yaml`` and ``meta.json``, from what the program says of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from adabatch.config import config_hash, differences
from adabatch.config.keys import KEYS, is_key, nested, suggestion
from adabatch.config.saved import read_values
from adabatch.errors import ConfigError
from adabatch.fields import between, require
from adabatch.files import write_text_atomic
from adabatch.library.batch_schedule import BatchSchedule
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import META_FORMAT_VERSION, RECORDED, LaunchFacts, read_meta, update_meta
from adabatch.rundir.other_config import refuse_other_config
from adabatch.rundir.provenance import code_version, cpu_model, gpu_versions, library_versions, new_segment

_NAME = re.compile(r"[\w,=+-][\w.,=+-]*")
_SEED = between(0, 2**31 - 1)
#: Keys that follow from the arguments of `adabatch.record`, which say them.
_ARGUMENTS = {"seed": "seed", "network.name": "network", "dataset.name": "dataset", "run_dir": "run_dir"}
_OF_THE_SCHEDULE = ("num_epochs", "optimizer.learning_rate", "dataset.num_train_samples")
_OF_THE_SAMPLER = ("max_micro_batch_size", "dataset.partial_batch")


@dataclass(frozen=True)
class RunFacts:
    """Who a recorded run is, as the program says.

    Attributes:
        program: that trains; runs of different programs are not compared.
        config: further config keys by full name.

    Raises:
        ConfigError: for a name or a value that cannot be.
    """

    seed: int
    dataset: str
    network: str
    program: str
    arm: str | None = None
    baseline: str | None = None
    sweep: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_whole = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        require(is_whole and _SEED.allows(self.seed), "seed", self.seed, f"a whole number {_SEED.text}")
        for name in ("dataset", "network", "arm", "baseline", "sweep"):
            value = getattr(self, name)
            is_name = isinstance(value, str) and _NAME.fullmatch(value) is not None
            optional = name in ("arm", "baseline", "sweep") and value is None
            require(is_name or optional, name, value, "a name of letters, digits and _ . , = + -")
        for key, value in self.config.items():
            _check_key(key, value)

    def values(self, schedule: BatchSchedule, partial_batch: str, max_micro_batch_size: int | None) -> dict[str, Any]:
        """Return the nested values of ``config.yaml``: what is known, and nothing else."""
        facts = schedule.facts()
        known = {
            "seed": self.seed,
            "num_epochs": schedule.num_epochs,
            "max_micro_batch_size": max_micro_batch_size,
            "network.name": self.network,
            "dataset.name": self.dataset,
            "dataset.num_train_samples": schedule.num_train_samples,
            "dataset.partial_batch": partial_batch,
            **{f"schedule.{name}": value for name, value in facts["schedule"].items()},
            "optimizer.learning_rate": schedule.learning_rate,
        }
        return nested({**known, **self.config})


def _check_key(key: str, value: object) -> None:
    if key in _ARGUMENTS:
        raise ConfigError(f"config names {key}; it must be given as {_ARGUMENTS[key]}=.")
    if key in _OF_THE_SCHEDULE or key in _OF_THE_SAMPLER or key.startswith("schedule."):
        owner = "sampler" if key in _OF_THE_SAMPLER else "schedule"
        raise ConfigError(f"config names {key}; it must be left out, since the {owner} says it.")
    if not is_key(key):
        raise ConfigError(f"config names {key}; it must be a config key, or one in a group.{suggestion(key, [*KEYS])}")
    is_plain = value is None or isinstance(value, str | int | float | bool)
    allowed = "text, a number, true, false, null or a list"
    require(is_plain or isinstance(value, list), f"config's {key}", value, allowed)


def write_config(run_dir: RunDir, values: dict[str, Any]) -> None:
    """Write ``config.yaml`` if there is none.

    Raises:
        ConfigError: if the folder holds another run.
    """
    if not run_dir.config.exists():
        require(not run_dir.has_started, "run_dir", run_dir.path, "a new folder, or one of an unfinished recorded run")
        write_text_atomic(run_dir.config, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        return
    source = read_meta(run_dir).source
    if run_dir.meta.exists() and source != RECORDED:
        raise ConfigError(f"run_dir is {run_dir.path}; it holds a run of {source}, and must be a new folder.")
    found = list(differences(values, read_values(run_dir.config)))
    refuse_other_config(run_dir.path, found, "Record into another folder")


def write_meta(run_dir: RunDir, facts: RunFacts, values: dict[str, Any], world_size: int) -> dict[str, Any]:
    """Add a segment to ``meta.json``, and return its content."""
    made_by = {**code_version(_folder_of_program()), **library_versions()}
    own = {name: value for name in ("sweep", "arm", "baseline") if (value := getattr(facts, name)) is not None}
    return update_meta(
        run_dir,
        format_version=META_FORMAT_VERSION,
        source=RECORDED,
        trainer=facts.program,
        config_hash=config_hash(values),
        num_train_samples=values["dataset"]["num_train_samples"],
        launch=LaunchFacts(**own),
        **made_by,
        **new_segment(read_meta(run_dir), world_size, made_by),
    )


def write_device(run_dir: RunDir) -> None:
    """Add to ``meta.json`` on what this segment trains: on a GPU if the program has one in use by now."""
    torch = sys.modules.get("torch")
    is_gpu = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    found: dict[str, Any] = {"device": "cuda" if is_gpu else "cpu"}
    if torch is not None and is_gpu:
        found |= {"device_model": torch.cuda.get_device_name(), **gpu_versions()}
    else:
        found |= {"device_model": cpu_model()}
    segments = read_meta(run_dir).segments
    threads = {} if torch is None else {"num_threads": torch.get_num_threads()}
    update_meta(run_dir, **found, **threads, segments=[*segments[:-1], {**segments[-1], **found}])


def program_name() -> str:
    """Return the name of the program that runs."""
    return Path(sys.argv[0]).name or "python"


def _folder_of_program() -> Path:
    """Return where the code that trains lies; an installed program, such as a notebook's, runs code from elsewhere."""
    folder = Path(sys.argv[0]).resolve().parent
    return folder if folder.is_dir() and "site-packages" not in folder.parts else Path.cwd()
