"""``meta.json``: the code, libraries and machine of a run, and what launch knows about it."""

from __future__ import annotations

import dataclasses
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adabatch.fields import Changes
from adabatch.files import write_json_atomic
from adabatch.reading import read_mapping
from adabatch.rundir.files import RunDir

META_FORMAT_VERSION = 1
#: ``source`` of a run that another trainer made.
FOREIGN = "foreign"
#: ``source`` of a run that another program made, and recorded with `adabatch.record`.
RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class FactInfo:
    """What is known about a fact.

    Attributes:
        kinds: the types of its values; a fact may always be missing.
        changes: what a difference in it between two compared runs can affect.
        in_frame: whether it is a column of the frame of runs.
        per_segment: whether it may differ between the segments of a resumed run.
        recorded_on: the kinds of device on which every run of this trainer records it; where it is missing, it is not
            known.
    """

    kinds: tuple[type, ...]
    changes: Changes
    in_frame: bool
    per_segment: bool
    recorded_on: tuple[str, ...] = ()


_EVERYWHERE = ("cpu", "cuda")
_INFO = "adabatch"


def fact(
    *kinds: type,
    changes: Changes = Changes.NOTHING,
    in_frame: bool = True,
    per_segment: bool = False,
    recorded_on: tuple[str, ...] = (),
    default: Any = None,
) -> Any:
    """Return a dataclass field for a fact; see `FactInfo`."""
    info = FactInfo(kinds, changes, in_frame, per_segment, recorded_on)
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata={_INFO: info})
    return field(default=default, metadata={_INFO: info})


@dataclass
class LaunchFacts:
    """What launch knows about a run of a sweep.

    Attributes:
        cell: the folder of data set and network.
        swept: the grid's values in this run, by key.
        varied: the keys of the grid.
        lint_allowed: the lint codes that were allowed.
        cluster: name of the cluster option.
        concurrent_runs: how many runs may share a machine's devices at the same time.
        runs_per_job: how many runs share one job.
        code: commit, version and uncommitted changes at submission.
        forecast: what was predicted before the run started.
        asked_hash: config hash before values that are measured or chosen at submission were filled in.
        target, margin, smallest_effect: what the sweep declares to be judged by.
        num_planned_runs: runs of the whole sweep.
        place_in_block: place of the run among the arms of its cell and seed, from 0, in the order of their start.
        registration: digest of what the sweep declared; see `adabatch.rundir.preregistration`.
        earlier: how many runs ran concurrently in earlier submissions, each up to which number of segments.
        reruns: how often the run was trained anew; what it left each time lies in ``.earlier/``.
    """

    sweep: str | None = fact(str)
    cell: str | None = fact(str)
    arm: str | None = fact(str)
    baseline: str | None = fact(str)
    swept: dict[str, Any] = fact(dict, in_frame=False, default={})
    varied: list[str] = fact(list, in_frame=False, default=[])
    lint_allowed: list[str] = fact(list, changes=Changes.RESULT, default=[])
    cluster: str | None = fact(str, in_frame=False)
    concurrent_runs: int | None = fact(int, changes=Changes.TIME, per_segment=True)
    runs_per_job: int | None = fact(int, changes=Changes.TIME, per_segment=True)
    code: dict[str, Any] = fact(dict, in_frame=False, default={})
    forecast: dict[str, Any] | None = fact(dict, in_frame=False)
    asked_hash: str | None = fact(str, in_frame=False)
    target: float | None = fact(int, float)
    margin: float | None = fact(int, float)
    smallest_effect: float | None = fact(int, float)
    num_planned_runs: int | None = fact(int)
    place_in_block: int | None = fact(int)
    registration: str | None = fact(str)
    earlier: list[dict[str, Any]] = fact(list, in_frame=False, default=[])
    reruns: int | None = fact(int)


@dataclass
class Meta:
    """The keys of ``meta.json``.

    Attributes:
        segments: one mapping per trainer start: host, process and job, and the facts that may change.
        measured: the measurements behind values that were ``auto``.
        trainer: name and version of another trainer, for imported and recorded runs.
        source: the origin of the run directory: ``adabatch``, ``wandb``, ``foreign`` or ``recorded``.
        imported_from: the files of an imported run.
        results_only: whether ``epochs.csv`` holds only the last epoch's row: of an imported run of which only the
            end is known.
        wandb: the origin of a run fetched from wandb.
        device_memory_bytes: the memory of a GPU.
        cuda_graphs: ``yes`` if micro-batches are replayed as CUDA graphs, ``no``, or ``no: `` and what prevents it.
        own_code: by kind (``network``, ...) the identity, files and commit of the user's own code.
        network_code, dataset_code, optimizer_code: its identity: a hash of its files, or an installed version.
    """

    format_version: int | None = fact(int, in_frame=False)
    adabatch_version: str | None = fact(str, changes=Changes.RESULT, recorded_on=_EVERYWHERE)
    git_sha: str | None = fact(str, changes=Changes.RESULT, per_segment=True, recorded_on=_EVERYWHERE)
    git_dirty: bool | None = fact(bool, changes=Changes.RESULT, recorded_on=_EVERYWHERE)
    python: str | None = fact(str, changes=Changes.RESULT, recorded_on=_EVERYWHERE)
    torch: str | None = fact(str, changes=Changes.RESULT, per_segment=True, recorded_on=_EVERYWHERE)
    torchvision: str | None = fact(str, changes=Changes.RESULT, recorded_on=_EVERYWHERE)
    cuda: str | None = fact(str, changes=Changes.RESULT, per_segment=True, recorded_on=("cuda",))
    cudnn: str | None = fact(str, changes=Changes.RESULT, per_segment=True, recorded_on=("cuda",))
    device: str | None = fact(str, changes=Changes.RESULT, recorded_on=_EVERYWHERE)
    device_model: str | None = fact(str, changes=Changes.RESULT, per_segment=True, recorded_on=_EVERYWHERE)
    device_memory_bytes: int | None = fact(int)
    host: str | None = fact(str)
    num_threads: int | None = fact(int, changes=Changes.TIME)
    cuda_graphs: str | None = fact(str, changes=Changes.TIME)
    world_size: int | None = fact(int, changes=Changes.RESULT)
    job_ids: list[str] = fact(list, in_frame=False, default=[])
    restarts: int | None = fact(int)
    segments: list[dict[str, Any]] = fact(list, in_frame=False, default=[])
    config_hash: str | None = fact(str)
    num_parameters: int | None = fact(int, changes=Changes.RESULT)
    num_train_samples: int | None = fact(int, in_frame=False)
    num_test_samples: int | None = fact(int, in_frame=False)
    started_at: str | None = fact(str)
    lost_seconds: float | None = fact(int, float)
    measured: dict[str, Any] = fact(dict, in_frame=False, default={})
    trainer: str | None = fact(str, changes=Changes.RESULT)
    source: str = fact(str, default="adabatch")
    imported_from: str | None = fact(str, in_frame=False)
    results_only: bool | None = fact(bool, changes=Changes.RESULT)
    wandb: dict[str, Any] | None = fact(dict, in_frame=False)
    own_code: dict[str, Any] = fact(dict, in_frame=False, default={})
    network_code: str | None = fact(str, changes=Changes.RESULT)
    dataset_code: str | None = fact(str, changes=Changes.RESULT)
    optimizer_code: str | None = fact(str, changes=Changes.RESULT)
    launch: LaunchFacts = field(default_factory=LaunchFacts)


def info_of(entry: dataclasses.Field[Any]) -> FactInfo | None:
    """Return the `FactInfo` of a field of `Meta` or `LaunchFacts`; None for ``launch`` itself."""
    info: FactInfo | None = entry.metadata.get(_INFO)
    return info


def _fact_infos(owner: type[Meta] | type[LaunchFacts]) -> dict[str, FactInfo]:
    infos = {entry.name: info_of(entry) for entry in dataclasses.fields(owner)}
    return {name: info for name, info in infos.items() if info is not None}


#: Collected once: thousands of files are checked by them.
_FACT_INFOS = {owner: _fact_infos(owner) for owner in (Meta, LaunchFacts)}


def fact_infos(owner: type[Meta] | type[LaunchFacts]) -> Mapping[str, FactInfo]:
    """Return the `FactInfo` of each fact, by name."""
    return _FACT_INFOS[owner]


#: What a difference in a fact between two compared runs can affect, by the name of its column; ``git_diff`` names the
#: uncommitted changes that a submission saved.
FACT_CHANGES: dict[str, Changes] = {
    **{
        name: info.changes
        for owner in (Meta, LaunchFacts)
        for name, info in fact_infos(owner).items()
        if info.changes is not Changes.NOTHING
    },
    "git_diff": Changes.RESULT,
}


def parse_meta(values: Mapping[str, Any]) -> Meta:
    """Parse the content of ``meta.json``; unknown keys are left out.

    Raises:
        TypeError: if a value has the wrong type; the message names it.
    """
    launch = values.get("launch")
    if not (launch is None or isinstance(launch, Mapping)):
        raise TypeError(f"launch is {reprlib.repr(launch)}; it must be a mapping")
    own = _checked(Meta, values, "")
    return Meta(**own, launch=LaunchFacts(**_checked(LaunchFacts, launch or {}, "launch.")))


def _checked(owner: type[Meta] | type[LaunchFacts], values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    checked = {}
    for name, info in fact_infos(owner).items():
        value = values.get(name)
        if value is None:
            continue
        is_bool = isinstance(value, bool)
        if not isinstance(value, info.kinds) or (is_bool and bool not in info.kinds):
            raise TypeError(f"{prefix}{name} is {reprlib.repr(value)}; it must be {_kind_text(info.kinds)}")
        checked[name] = value
    return checked


def _kind_text(kinds: tuple[type, ...]) -> str:
    texts = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
    return texts.get(kinds[-1], "a mapping")


def read_meta(run_dir: RunDir) -> Meta:
    """Return the content of ``meta.json``; an empty `Meta` if the file is missing or damaged."""
    try:
        return parse_meta(read_mapping(run_dir.meta))
    except TypeError:
        return Meta()


def update_meta(run_dir: RunDir, **facts: Any) -> dict[str, Any]:
    """Set facts in ``meta.json``, keep the others, and return all of them as plain values.

    Raises:
        TypeError: for a name that is not a field of `Meta`.
    """
    unknown = facts.keys() - {entry.name for entry in dataclasses.fields(Meta)}
    if unknown:
        raise TypeError(f"meta.json has no fact named {', '.join(sorted(unknown))}")
    plain = {name: dataclasses.asdict(value) if isinstance(value, LaunchFacts) else value
             for name, value in facts.items()}  # fmt: skip
    meta = read_mapping(run_dir.meta) | plain
    write_json_atomic(run_dir.meta, meta)
    return meta
