"""The user's own code in a run: found, checked before anything is written, and on record."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from adabatch.config import TrainConfig
from adabatch.errors import ConfigError
from adabatch.plugins import Kind, load, own_code
from adabatch.plugins.arguments import check_arguments
from adabatch.plugins.code import OwnCode, installed_version
from adabatch.plugins.config import PluginGroup
from adabatch.plugins.kinds import PASSED
from adabatch.rundir.files import RunDir
from adabatch.rundir.meta import read_meta
from adabatch.schedules import Progress, Schedule
from adabatch.schedules.custom import CustomScheduleConfig
from adabatch.trackers import Tracker
from adabatch.training.engine import build_network_of
from adabatch.training.optimizers import build_optimizer
from adabatch.training.own_metrics import OwnMetrics, metric_codes

#: Paths that begin with these name a model or a data set of a package, not a module's attribute; and the package.
_PREFIXES = {Kind.NETWORK: {"timm": "timm", "torchvision": "torchvision"}, Kind.DATASET: {"hf": "datasets"}}
_BASES: dict[Kind, type] = {
    Kind.NETWORK: nn.Module,
    Kind.DATASET: torch.utils.data.Dataset,
    Kind.OPTIMIZER: torch.optim.Optimizer,
    Kind.SCHEDULE: Schedule,
    Kind.TRACKER: Tracker,
}


def own_codes(config: TrainConfig) -> dict[str, OwnCode]:
    """Import the plug-ins of a config, check their kinds and arguments, and return where their code comes from.

    Returns:
        by kind; of a metric by ``metrics.NAME``.

    Raises:
        ConfigError: if one cannot be found, is something else than its key says, or does not take its arguments.
    """
    codes = {str(kind): _checked(kind, group) for kind, group in _groups(config).items() if group.path is not None}
    return {**codes, **metric_codes(config)}


def try_out(config: TrainConfig) -> None:
    """Build the plug-ins of a config once, so that a mistake costs a sentence instead of queued jobs.

    Raises:
        ConfigError: if one raises, or does not return what it must.
    """
    if config.network.path is not None:
        with torch.random.fork_rng(devices=[]):
            build_network_of(config)
    if config.optimizer.path is not None:
        build_optimizer(config.optimizer, iter([nn.Parameter(torch.zeros(1))]))
    if isinstance(config.schedule, CustomScheduleConfig):
        config.build_schedule().decide(Progress())
    OwnMetrics(config, torch.device("cpu"))


def _groups(config: TrainConfig) -> dict[Kind, PluginGroup]:
    groups = {kind: getattr(config, kind) for kind in Kind}
    return {kind: group for kind, group in groups.items() if isinstance(group, PluginGroup)}


def _checked(kind: Kind, group: PluginGroup) -> OwnCode:
    path = str(group.path)
    package = _PREFIXES.get(kind, {}).get(path.partition(":")[0])
    if package is not None:
        return OwnCode(installed_version(package), {})
    plugin = load(kind, path, _BASES.get(kind))
    check_arguments(plugin, kind, group.args, _passed(kind, plugin))
    return own_code(plugin)


def _passed(kind: Kind, plugin: Callable[..., Any]) -> list[str]:
    # An optimizer's first argument is its parameters, whatever its name.
    first = list(inspect.signature(plugin).parameters)[:1] if kind is Kind.OPTIMIZER else []
    return [*first, *PASSED[kind]]


def refuse_other_code(run_dir: RunDir, codes: dict[str, OwnCode]) -> None:
    """Raise ConfigError if a run was trained with other code of the user's than the one found now.

    A tracker changes nothing in a run, so another one may go on with it.
    """
    meta = read_meta(run_dir)
    for kind, code in codes.items():
        before = (meta.own_code.get(kind) or {}).get("identity")
        if kind != Kind.TRACKER and before not in (None, code.identity):
            raise ConfigError(
                f"run_dir is {run_dir.path}; it was trained with the {kind} code {before}, and the code found now is "
                f"{code.identity}. Restore the code, or train anew: remove that folder, or name another one by "
                "run_dir or, in a sweep, by sweep.name."
            )


def own_code_facts(codes: dict[str, OwnCode]) -> dict[str, dict[str, Any]]:
    """Return the fact ``own_code`` of ``meta.json``: by kind the identity, files and commit of the user's own code."""
    return {
        str(kind): {
            "identity": code.identity,
            "files": sorted(code.files),
            "git_sha": code.git_sha,
            "git_dirty": code.git_dirty,
        }
        for kind, code in codes.items()
    }
