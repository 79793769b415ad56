"""Whether two runs may be compared: one row of ``runs`` against another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from adabatch.config.keys import KEYS, changes, is_key, judged_by_equality, suggestion
from adabatch.config.values import shortened
from adabatch.errors import ConfigError
from adabatch.fields import Changes, Difference, JudgedBy, shown
from adabatch.rundir.meta import FACT_CHANGES, FOREIGN, RECORDED, Meta, fact_infos
from adabatch.schedules.trajectory import RATE_RULE, Trajectory, compare, constant_factor, factor_sentence
from analysis.frames import Data, has_failed, is_final, records
from analysis.trajectories import trajectories

#: Seconds of two runs whose ratio is beyond this are in different units, or broken.
_LARGEST_RATIO = 1000.0
_SAMPLES_RULE, _SECONDS_RULE = "samples_per_epoch", "elapsed_seconds"
#: Facts that follow from the number of ranks, which ``hardware.devices`` lets grow with the batch.
_OF_RANKS = ("world_size", "cuda_graphs")
_DEVICES = "hardware.devices."
#: What is compared besides config keys and recorded facts.
_RULES = (RATE_RULE, _SAMPLES_RULE, _SECONDS_RULE)


def is_missing(value: object) -> bool:
    """Return whether a frame holds no value in a place."""
    return value is None or value is pd.NA or value != value


@dataclass(frozen=True)
class CheckedRun:
    """One row of ``runs``."""

    name: str
    values: dict[str, Any]
    is_final: bool

    @property
    def seed(self) -> object:
        """By which it is paired."""
        return self.values["seed"]

    @property
    def is_usable(self) -> bool:
        """Whether it tells something about its arm: it is done, or it failed by itself."""
        return self.is_final or has_failed(self.values["state"], self.values["damage"])

    @property
    def why_unusable(self) -> str | None:
        """Why it cannot be in a pair, if so."""
        if self.is_usable:
            return None
        state, cause = self.values["state"], self.values["cause"]
        return str(state) if not isinstance(cause, str) else f"{state} ({cause})"


class RunChecker:
    """Finds what must be equal, or match, between two runs, and does not.

    Args:
        allow: keys that may differ; such pairs are marked.

    Raises:
        ConfigError: for a key of ``allow`` that is never compared.

    Attributes:
        trajectories: by run, of those with a finished epoch.
    """

    def __init__(self, data: Data, allow: frozenset[str]) -> None:
        columns = [str(name) for name in data.runs]
        keys = [name for name in columns if is_key(name)]
        for key in sorted(allow):
            _require_comparable(key, columns)
        self._allow = allow
        self._equal_keys = judged_by_equality(keys)
        self._own_keys = [name for name in keys if changes(name) is not Changes.NOTHING and not _is_paired_by(name)]
        self._origin_keys = [name for name in FACT_CHANGES if name in columns]
        self.trajectories = trajectories(data)
        self._samples = _samples_per_epoch(data)
        self._is_final = is_final(data.runs)
        self._by_arm: dict[tuple[str, str], list[CheckedRun]] = {}
        self._known: dict[tuple[str, str], list[Difference]] = {}

    def runs_of(self, table: pd.DataFrame) -> list[CheckedRun]:
        """Return runs sorted by seed and start."""
        table = table.sort_values(["seed", "started_at"], kind="stable")
        finals = self._is_final.reindex(table.index)
        runs = [
            CheckedRun(str(name), values, bool(final))
            for name, values, final in zip(table.index, records(table), finals, strict=True)
        ]
        for run in runs:
            self._by_arm.setdefault((str(run.values["group"]), str(run.values["arm"])), []).append(run)
        return runs

    def usable_runs(self, group: str, arm: str) -> list[CheckedRun]:
        """Return an arm's runs that tell something about it."""
        return [run for run in self._by_arm.get((group, arm), []) if run.is_usable]

    def batches(self, runs: Sequence[CheckedRun]) -> list[int]:
        """Return the batch sizes by epoch of the run with the most epochs."""
        found = [self.trajectories[run.name] for run in runs if run.name in self.trajectories]
        if not found:
            return []
        return [int(batch) for batch in max(found, key=lambda one: one.num_epochs).batch_sizes]

    def partition(self, runs: Sequence[CheckedRun]) -> list[list[CheckedRun]]:
        """Return runs of one arm in parts of equal config, seeds apart."""
        keys = [name for name in self._own_keys if name not in self._allow]
        parts: dict[tuple[str, ...], list[CheckedRun]] = {}
        for run in runs:
            values = (run.values.get(name) for name in keys)
            parts.setdefault(tuple("" if is_missing(value) else repr(value) for value in values), []).append(run)
        return list(parts.values())

    def config_differences(self, run: CheckedRun, other: CheckedRun) -> list[Difference]:
        """Return the keys in which two runs of one arm differ."""
        return [entry for entry in _unequal(self._own_keys, run, other) if entry.key not in self._allow]

    def origin_differences(self, run: CheckedRun, other: CheckedRun) -> list[Difference]:
        """Return the facts in which two runs of one arm differ."""
        return list(_unequal(self._origin_keys, run, other))

    def refusals(self, run: CheckedRun, base: CheckedRun) -> list[Difference]:
        """Return what keeps even the qualities of two runs from being compared."""
        return [entry for entry in self._differences(run, base) if entry.changes is not Changes.TIME]

    def time_differences(self, run: CheckedRun, base: CheckedRun) -> list[Difference]:
        """Return what keeps the seconds of two runs from being compared, and nothing else."""
        return [entry for entry in self._differences(run, base) if entry.changes is Changes.TIME]

    def _differences(self, run: CheckedRun, base: CheckedRun) -> list[Difference]:
        key = (run.name, base.name)
        if key not in self._known:
            found = self._find_differences(run, base)
            self._known[key] = [entry for entry in found if entry.key not in self._allow]
        return self._known[key]

    def _find_differences(self, run: CheckedRun, base: CheckedRun) -> Iterator[Difference]:
        """Yield all differences, those that are allowed among them."""
        declared = _OF_RANKS if _declares_ranks(run) and _declares_ranks(base) else ()
        yield from _unequal((*self._equal_keys, *(key for key in self._origin_keys if key not in declared)), run, base)
        own, other = self._both_trajectories(run, base)
        if own is not None and other is not None:
            yield from compare(own, other)
            yield from self._unequal_samples(run, base, float(max(own.batch_sizes.max(), other.batch_sizes.max())))
        seconds = [one.values.get("elapsed_seconds") for one in (run, base)]
        if run.is_final and base.is_final and not any(map(is_missing, seconds)):
            ratio = float(seconds[0]) / float(seconds[1])  # type: ignore[arg-type]
            if not 1 / _LARGEST_RATIO < ratio < _LARGEST_RATIO:
                own_text, base_text = (f"{one.values['elapsed_seconds']:.4g} in {one.name}" for one in (run, base))
                yield Difference(_SECONDS_RULE, own_text, base_text)

    def _unequal_samples(self, run: CheckedRun, base: CheckedRun, batch: float) -> Iterator[Difference]:
        """Yield a difference of the samples per epoch that a dropped partial batch does not explain."""
        own, other = self._samples.get(run.name), self._samples.get(base.name)
        if own is not None and other is not None and abs(own - other) >= batch:
            yield Difference(_SAMPLES_RULE, own, other)

    def _both_trajectories(self, run: CheckedRun, base: CheckedRun) -> tuple[Trajectory | None, Trajectory | None]:
        return self.trajectories.get(run.name), self.trajectories.get(base.name)

    def remarks(self, run: CheckedRun, base: CheckedRun) -> Iterator[str]:
        """Yield what a reader must know of a pair that is let through."""
        for entry in self._find_differences(run, base):
            if entry.key in self._allow:
                values = f"{_shown(entry.value)} against {_shown(entry.other)}"
                yield f"{entry.key} differs ({values}), let through by --allow {entry.key}"
        own, other = self._both_trajectories(run, base)
        factor = 1.0 if own is None or other is None else constant_factor(own, other)
        if factor != 1.0 and own is not None and other is not None:
            yield factor_sentence(factor, own.first_batch_size, other.first_batch_size)
        if _declares_ranks(run) and _declares_ranks(base) and list(_unequal(("world_size",), run, base)):
            sizes = f"{_shown(run.values.get('world_size'))} against {_shown(base.values.get('world_size'))}"
            mode = run.values.get("batch_norm")
            over = "all ranks" if mode == "sync" else "the micro-batch of one device, or ghost batches in it"
            yield (
                f"its ranks are {sizes}, as hardware.devices declares: seconds are of several numbers of devices, and"
                f" BatchNorm, where there is one, normalizes over {over} (batch_norm={_shown(mode)})"
            )
        hosts = [one.values.get("host") for one in (run, base)]
        if hosts[0] != hosts[1] and not any(map(is_missing, hosts)):
            yield "some pairs ran on different hosts"
        if not is_missing(run.values.get("config_hash")) and is_missing(run.values.get("hash_matches")):
            yield f"its config hash {run.values['config_hash']} is by a rule that this version does not know"
        unknown = _unknown_facts(run, base)
        if unknown:
            yield f"not known of either run, so perhaps not equal: {', '.join(unknown)}"
        if run.values.get("git_dirty") is True:
            yield "the code had changes that were not committed"
        if run.values.get("lint_allowed"):
            yield f"submitted in spite of lint's {run.values['lint_allowed']}"
        reruns = [one.values.get("reruns") for one in (run, base)]
        if any(not is_missing(count) and float(count or 0) > 0 for count in reruns):
            yield "some runs were trained anew by rerun: their results may have been chosen among several"
        for name, words in (("runs_per_job", "runs shared a job"), ("concurrent_runs", "runs went side by side")):
            count = run.values.get(name)
            if isinstance(count, str) or (not is_missing(count) and float(count or 1) > 1):
                yield f"{_shown(count)} {words}: seconds are those of a shared machine"
        if run.values["source"] == FOREIGN:
            yield "logs of another trainer: its settings are as declared, not verified"
        if run.values["source"] == RECORDED:
            yield f"recorded by {run.values['trainer']}: its settings are as declared, not verified"
        if run.values.get("results_only") is True:
            yield "only the ends of its runs are known: they are in no curve and no time to the target"


def _declares_ranks(run: CheckedRun) -> bool:
    """Return whether a run's config says by how many ranks which batch is trained."""
    return any(name.startswith(_DEVICES) and not is_missing(value) for name, value in run.values.items())


def _unknown_facts(run: CheckedRun, base: CheckedRun) -> list[str]:
    """Return the facts of which neither run has what every run of this trainer records: they may differ.

    Logs of another trainer record none of them, and are marked as a whole.
    """
    if FOREIGN in (run.values["source"], base.values["source"]):
        return []
    device = run.values.get("device")
    device = "cpu" if is_missing(device) else str(device)
    expected = [name for name, info in fact_infos(Meta).items() if device in info.recorded_on]
    return [name for name in expected if all(is_missing(one.values.get(name)) for one in (run, base))]


def _require_comparable(key: str, columns: Sequence[str]) -> None:
    """Raise ConfigError for a key in which no two runs can differ, such as one with a typo."""
    known = [*KEYS, *FACT_CHANGES, *_RULES]
    if key not in known and not (key in columns and is_key(key)):
        raise ConfigError(
            f"--allow is {shortened(key)}; it must be a key of the config, a recorded fact such as git_sha, or "
            f"{' or '.join(_RULES)}.{suggestion(key, known)}"
        )


def _is_paired_by(name: str) -> bool:
    return name in KEYS and KEYS[name].facts.judged_by is JudgedBy.PAIRING


def _samples_per_epoch(data: Data) -> dict[str, float]:
    """Return the largest number of samples of an epoch by run."""
    epochs = data.epochs.sort_values(["run", "epoch"], kind="stable")
    steps = epochs.groupby("run", observed=True).samples.diff().fillna(epochs.samples)
    largest = steps.groupby(epochs.run, observed=True).max()
    return {str(run): float(count) for run, count in largest.items()}


def _unequal(names: Sequence[str], run: CheckedRun, other: CheckedRun) -> Iterator[Difference]:
    for name in names:
        value, other_value = run.values.get(name), other.values.get(name)
        if not _same(value, other_value):
            yield Difference(name, value, other_value, FACT_CHANGES.get(name) or changes(name))


def _same(one: object, two: object) -> bool:
    if one is two or (isinstance(one, str) and isinstance(two, str)):  # most of millions of pairs
        return one == two or one is two
    missing = [is_missing(value) for value in (one, two)]
    return all(missing) if any(missing) else bool(one == two)


def _shown(value: object) -> object:
    return shown(None if is_missing(value) else value)
