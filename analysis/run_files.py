"""Reads the files of one run directory into values and epochs. Damage is named, and is never the end of the reading."""

from __future__ import annotations

import dataclasses
import os
import re
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from adabatch.config.hashing import defaults_since, matches_hash
from adabatch.config.keys import is_key
from adabatch.reading import Unreadable, printable, read_json, reason
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import FOREIGN, LaunchFacts, Meta, fact_infos, parse_meta
from adabatch.schedules.kinds import label
from analysis.run_config import LARGEST, Config, ConfigReader
from analysis.run_epochs import MALFORMED, PLACE, Damage, Origin, RunEpochs, read_epochs

#: Facts of launch that are columns as they are; those that say who a run is, and lists, are read by name.
_LAUNCH_COLUMNS = [
    name
    for name, info in fact_infos(LaunchFacts).items()
    if info.in_frame and name not in ("sweep", "cell", "arm", "baseline", "lint_allowed")
]
_Content = TypeVar("_Content")
#: Columns that must be text where they are known: runs are named, grouped and sorted by them.
_TEXTS = ("sweep", "cell", "arm", "baseline", "dataset", "network", "started_at", "source")
#: A single value of any kind.
_ANY = (str, int, float, bool)
#: What is known of the line of a forecast, see `adabatch.measure.forecast.Forecast`.
FORECAST_LINE = ("fixed_seconds", "seconds_per_sample", "update_seconds")
_FORECASTS = ("forecast", "forecast_counterpart")
#: The kinds of the known values in each column that is no key of the config, or a key that is checked.
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("run", "sweep", "cell", "group", "arm", "baseline", "dataset", "network", "lint_allowed"), (str,)),
    **dict.fromkeys(("seed", "num_epochs"), (int,)),
    # What was not the same in all segments is text.
    **{name: (*info.kinds, str) for name, info in fact_infos(Meta).items() if info.in_frame},
    **{name: (*fact_infos(LaunchFacts)[name].kinds, str) for name in _LAUNCH_COLUMNS},
    "started_at": (str,),
    "results_only": (bool,),
    "forecast_seconds": (int, float),
    "forecast_uses_graphs": (bool,),
    "forecast_counterpart_seconds": (int, float),
    **{f"{forecast}_{name}": (int, float) for forecast in _FORECASTS for name in FORECAST_LINE},
    "hash_matches": (bool,),
    **dict.fromkeys(("git_diff", "setup_seconds", "wall_seconds"), _ANY),
}
#: The files whose change makes a run directory worth reading again.
_READ = ("config.yaml", "meta.json", "epochs.csv", "summary.json", "DONE")
#: By file that exists its name, when it was changed (ns), and its size.
Signature = tuple[tuple[str, int, int], ...]
#: So many runs are read together; more would not be faster, and need more memory.
_AT_ONCE = 64


@dataclass
class RunFiles:
    """What the files of one run directory hold.

    Attributes:
        values: the run's row of ``runs``, without its state and without what follows from the epochs.
        epochs: its rows of ``epochs.csv``.
        damages: what is wrong with the files; empty for a sound run.
    """

    path: Path
    values: dict[str, Any]
    epochs: RunEpochs = field(repr=False)
    damages: list[str] = field(default_factory=list)

    @property
    def num_epochs(self) -> int:
        """How many epochs are finished."""
        return int(self.epochs.rows.shape[1])


def signature_of(path: Path) -> Signature:
    """Return what changes whenever a run directory is worth reading again; a file may vanish while we look."""
    folder, found = os.fspath(path), []
    for name in _READ:
        try:
            entry = os.lstat(f"{folder}/{name}")
        except OSError:
            continue
        found.append((name, entry.st_mtime_ns, entry.st_size))
    return tuple(found)


def read_runs(paths: Sequence[Path]) -> Iterator[RunFiles]:
    """Read run directories; never fails for what is in them."""
    configs = ConfigReader()
    for start in range(0, len(paths), _AT_ONCE):
        texts = [_read_texts(path, configs) for path in paths[start : start + _AT_ONCE]]
        found = read_epochs([one.files.epochs for one in texts], [one.origin for one in texts])
        yield from (_run_files(one, epochs) for one, epochs in zip(texts, found, strict=True))


@dataclass
class _Texts:
    """What all files of a run directory but ``epochs.csv`` hold."""

    files: RunDir
    config: Config = field(default_factory=lambda: Config({}))
    meta: Meta = field(default_factory=Meta)
    summary: dict[str, Any] = field(default_factory=dict)
    damages: list[str] = field(default_factory=list)

    @property
    def origin(self) -> Origin:
        dataset = self.config.values.get("dataset") or {}
        return Origin(
            # This trainer's own runs have all of their epochs.
            is_results_only=self.meta.source == FOREIGN and self.meta.results_only is True,
            is_ours=self.meta.source == "adabatch",
            keeps_partial_batch=dataset.get("partial_batch") == "keep",
        )


def _read_texts(path: Path, configs: ConfigReader) -> _Texts:
    files = RunDir(path)
    texts = _Texts(files)

    def attempt(read: Callable[[Path], _Content], file: Path, otherwise: _Content) -> _Content:
        try:
            return read(file)
        except Damage as damage:
            texts.damages.append(str(damage))
        except MALFORMED as error:
            texts.damages.append(f"{file.name} cannot be used: {error}")
        return otherwise

    texts.config = attempt(configs.read, files.config, texts.config)
    texts.meta = attempt(_read_meta, files.meta, texts.meta)
    texts.summary = attempt(_read_json, files.summary, texts.summary)
    return texts


def _run_files(texts: _Texts, epochs: RunEpochs) -> RunFiles:
    damages = texts.damages + ([] if epochs.damage is None else [epochs.damage])
    try:
        values = _values(texts, epochs)
    except MALFORMED as error:
        damages.append(f"a YAML or JSON file holds something of another kind than expected: {error}")
        values = _values(_Texts(texts.files), epochs)
    if values["hash_matches"] is False:
        recorded = texts.meta.config_hash
        damages.append(f"config.yaml was changed: it does not have the config hash {recorded} of meta.json")
    return RunFiles(texts.files.path, values, epochs, damages)


def _values(texts: _Texts, epochs: RunEpochs) -> dict[str, Any]:
    """Return the run's row of ``runs`` but for its state.

    Raises:
        TypeError: or another of `MALFORMED`, if something is of another kind than expected.
    """
    config, meta = texts.config, texts.meta
    values = {
        **(defaults_since(meta.config_hash) if config else {}),
        **config.flat,
        **_identity(texts.files.path, config.values, meta.launch),
        **_origin(meta),
        "hash_matches": _hash_matches(config.values, meta),
        **{name: texts.summary.get(name) for name in ("setup_seconds", "wall_seconds")},
        **_changed_between_segments(epochs, meta),
    }
    for name, value in values.items():
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, dict | list | set) or (isinstance(value, int) and abs(value) > LARGEST):
            raise TypeError(f"{name} is {reprlib.repr(value)}; it must be a single value that fits a column")
    for name in _TEXTS:
        if not (values[name] is None or isinstance(values[name], str)):
            raise TypeError(f"{name} is {reprlib.repr(values[name])}; it must be text")
    return values


def check_kinds(rows: Sequence[Any]) -> None:
    """Check that rows could be the values of runs, whoever says so: no other columns, and in each a value of its kind.

    Raises:
        TypeError: or another of `MALFORMED`, if not.
    """
    #: A row of each shape; thousands of rows have few.
    examples: dict[tuple[object, ...], dict[str, Any]] = {}
    for values in rows:
        if not isinstance(values, dict):
            raise TypeError(f"{reprlib.repr(values)} are not the values of a run")
        found = list(values.values())
        examples.setdefault((*values, *map(type, found)), values)
        "".join([value for value in found if type(value) is str]).encode()
        if max([abs(value) for value in found if type(value) is int], default=0) > LARGEST:
            raise TypeError(f"{reprlib.repr(values)} holds a number that fits no column")
    for values in examples.values():
        if not values.keys() >= _KINDS.keys() - {"num_epochs"}:
            raise TypeError(f"{reprlib.repr(values)} lacks columns of a run")
        for name, value in values.items():
            kinds = _KINDS.get(name) or (_ANY if is_key(name) else ())
            if value is not None and type(value) not in kinds:
                raise TypeError(f"{name} is {reprlib.repr(value)}; it must be of another kind")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, Unreadable) as error:
        raise Damage(f"{path.name} cannot be read: {reason(error)}") from error
    if not isinstance(values, dict):
        raise Damage(f"{path.name} holds no mapping of keys to values")
    return values


def _read_meta(path: Path) -> Meta:
    return parse_meta(_read_json(path))


def _identity(path: Path, config: dict[str, Any], launch: LaunchFacts) -> dict[str, Any]:
    """Return who the run is: as launch wrote it, else from its config."""
    dataset = (config.get("dataset") or {}).get("name")
    network = (config.get("network") or {}).get("name")
    cell = launch.cell or f"{dataset}-{network}"
    swept = {key: value for key, value in launch.swept.items() if key not in ("network", "dataset")}
    return {
        "run": _name(path),
        "sweep": launch.sweep,
        "cell": cell,
        "group": " ".join([cell, *(f"{key}={value}" for key, value in sorted(swept.items()))]),
        "arm": launch.arm or label(config.get("schedule") or {}),
        "baseline": launch.baseline,
        "seed": config["seed"] if "seed" in config else _seed_of(path),
        "dataset": dataset,
        "network": network,
    }


def _name(path: Path) -> str:
    """Return a run's name: its path, or, where bytes of that are no text, the path with these written out."""
    name = path.as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        return printable(name)
    return name


def _seed_of(path: Path) -> int | None:
    """Return the seed by the folder's name, for a run whose config is damaged."""
    match = re.fullmatch(r"seed_(\d{1,18})", path.name)
    return int(match.group(1)) if match else None


def _origin(meta: Meta) -> dict[str, Any]:
    launch = meta.launch
    facts = {name: getattr(meta, name) for name, info in fact_infos(Meta).items() if info.in_frame}
    return {
        **facts,
        **{name: getattr(launch, name) for name in _LAUNCH_COLUMNS},
        **_forecast(launch.forecast),
        "git_diff": launch.code.get("git_diff"),
        "lint_allowed": ",".join(sorted(launch.lint_allowed)),
    }


def _hash_matches(config: Mapping[str, Any], meta: Meta) -> bool | None:
    """Return whether the config has the hash on record, by that hash's rule; None if it cannot be told."""
    return matches_hash(config, meta.config_hash) if meta.config_hash is not None and config else None


def _forecast(forecast: dict[str, Any] | None) -> dict[str, Any]:
    known = forecast or {}
    uses_graphs, counterpart = known.get("uses_graphs"), known.get("counterpart")
    other = counterpart if isinstance(counterpart, dict) else {}
    lines = {
        f"{forecast}_{name}": _number(values.get(name))
        for forecast, values in zip(_FORECASTS, (known, other), strict=True)
        for name in FORECAST_LINE
    }
    return {
        "forecast_seconds": _forecast_seconds(known),
        "forecast_uses_graphs": uses_graphs if isinstance(uses_graphs, bool) else None,
        "forecast_counterpart_seconds": _forecast_seconds(other),
        **lines,
    }


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _forecast_seconds(forecast: Mapping[str, Any]) -> float | None:
    """Return the training and growth that were predicted before the run started; None if nothing was."""
    parts = [forecast.get(key) for key in ("train_seconds", "growth_seconds")]
    numbers = [float(part) for part in parts if isinstance(part, int | float)]
    return sum(numbers) if len(numbers) == len(parts) else None


def _changed_between_segments(epochs: RunEpochs, meta: Meta) -> dict[str, Any]:
    """Return what was not the same in all segments of a run that was resumed, as text that equals no single value."""
    changed = _in_turn(_per_segment(Meta), meta.segments) if len(meta.segments) > 1 else {}
    if meta.launch.earlier:
        changed |= _in_turn(_per_segment(LaunchFacts), [*meta.launch.earlier, dataclasses.asdict(meta.launch)])
    ranks = epochs.rows[PLACE["world_size"]]
    sizes = [f"{size:g}" for size in dict.fromkeys(ranks[~np.isnan(ranks)].tolist())]
    if len(sizes) > 1:
        changed["world_size"] = ", then ".join(sizes)
    return changed


def _per_segment(owner: type[Meta] | type[LaunchFacts]) -> list[str]:
    return [name for name, info in fact_infos(owner).items() if info.per_segment]


def _in_turn(names: Sequence[str], entries: Sequence[Any]) -> dict[str, str]:
    """Return the values of each name that is not the same in all entries, joined in their order."""
    changed = {}
    entries = [entry for entry in entries if isinstance(entry, dict)]
    for name in names:
        values = list(dict.fromkeys(str(entry[name]) for entry in entries if entry.get(name) is not None))
        if len(values) > 1:
            changed[name] = ", then ".join(values)
    return changed
