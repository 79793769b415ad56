"""The command line: finds the command; plan and submit. The others have modules of their own."""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from adabatch.call_words import CallRules, check_words, config_dir_of, options_of
from adabatch.config.keys import is_key_or_group
from adabatch.errors import EXIT_DONE, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_USAGE, ConfigError
from adabatch.files import CONF_DIR
from adabatch.terminal import complain, print_renderable, run_command
from adabatch.verb_help import VERSION, help_of, list_verbs, name_of, summary
from launch.arguments import add_plan, add_submit
from launch.cancel_command import cancel
from launch.cluster_config import ClusterConfig
from launch.config import SweepConfig, load_cluster, load_sweep, quick_sweep
from launch.expand import Expansion, expand
from launch.forecast import CellForecast, Totals, forecast_cells, forecast_runs, forecast_totals
from launch.lint import Finding, check_codes, lint, refused_codes
from launch.logs import logs
from launch.own_code import check_own_code
from launch.plan import make_plan
from launch.plan_text import findings_text, plan_text
from launch.prepare import most_concurrent_runs
from launch.probe import Prober
from launch.rerun import rerun
from launch.slurm_script import check_shape
from launch.status import states_to_submit, status_of
from launch.status_command import status
from launch.submit import Request, refuse_errors, submit
from launch.verbs import VERBS
from launch.wait import wait, wait_for

_PROGRAM = "python -m launch"
#: The groups of options that only launch reads.
_GROUPS = ("sweep", "cluster")


@dataclass(frozen=True)
class _Arguments:
    """The ``key=value`` arguments of a call, by kind."""

    names: dict[str, str]
    sweep: dict[str, str]
    cluster: dict[str, str]
    overrides: list[str]


def main(arguments: Sequence[str] | None = None, program: str = _PROGRAM) -> int:
    """Run a command and return its exit status: 0 done, 1 a run or a check failed, 2 invalid call, 3 incomplete.

    Args:
        program: what stands before the command, for its help.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands: dict[str, Callable[[argparse.ArgumentParser, list[str]], int]] = {
        "plan": _plan,
        "submit": _submit,
        "status": status,
        "wait": wait,
        "logs": logs,
        "cancel": cancel,
        "rerun": rerun,
    }
    if not given or given[0] not in commands:
        return _no_command(given)
    logging.getLogger("submitit").setLevel(logging.WARNING)
    verb = next(verb for verb in VERBS if name_of(verb) == given[0])
    parser = argparse.ArgumentParser(prog=f"{program} {given[0]}", **help_of(verb))
    return run_command(lambda: commands[given[0]](parser, given[1:]))


def _no_command(given: list[str]) -> int:
    if given == ["--version"]:
        print(VERSION)
        return EXIT_DONE
    verbs = list_verbs({name_of(verb): summary(verb) for verb in VERBS})
    usage = f"usage: {_PROGRAM} COMMAND ...\n\n{verbs}\n\nFor details: {_PROGRAM} COMMAND --help"
    wants_help = bool(given) and given[0] in ("-h", "--help", "help")
    if given and not wants_help:
        known = ", ".join(map(name_of, VERBS))
        print(f"unknown command {given[0]}; expected one of {known}.\n", file=sys.stderr)
    print(usage, file=sys.stdout if wants_help else sys.stderr)
    return EXIT_DONE if wants_help else EXIT_USAGE


def _parsed(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    if not arguments:
        parser.print_help(sys.stderr)
        sys.exit(EXIT_USAGE)
    folders = [folder for folder in (config_dir_of(arguments), CONF_DIR) if folder is not None]

    def find_group(name: str) -> str | None:
        places = itertools.product(_GROUPS, folders)
        return next((group for group, folder in places if (folder / group / f"{name}.yaml").is_file()), None)

    check_words(arguments, CallRules(parser.prog, options_of(parser), _is_key, find_group))
    return parser.parse_intermixed_args(arguments)


def _is_key(name: str) -> bool:
    return name.partition(".")[0] in _GROUPS or is_key_or_group(name)


def _split_arguments(words: Sequence[str]) -> _Arguments:
    split = _Arguments({}, {}, {}, [])
    for word in words:
        key, _, value = word.partition("=")
        group, _, rest = key.partition(".")
        if key in _GROUPS:
            split.names[key] = value
        elif group == "sweep" and rest:
            split.sweep[rest] = value
        elif group == "cluster" and rest:
            split.cluster[rest] = value
        else:
            split.overrides.append(word)
    return split


def _expand(options: argparse.Namespace, words: _Arguments) -> tuple[Expansion, list[Finding]]:
    if options.config_dir is not None and not options.config_dir.is_dir():
        raise ConfigError(f"--config-dir is {options.config_dir}; it must be an existing folder.")
    sweep: SweepConfig = load_sweep(words.names.get("sweep", "(not given)"), words.sweep, options.config_dir)
    if options.quick:
        sweep = quick_sweep(sweep)
        complain(f"a quick look at {sweep.name}: few samples and epochs, one seed; it proves nothing")
    expansion = expand(sweep, words.overrides, options.runs_dir, options.config_dir)
    check_own_code(expansion.runs)
    return expansion, lint(expansion)


def _codes(options: argparse.Namespace) -> list[str]:
    return check_codes([code for text in options.allow for code in text.split(",") if code])


def _plan(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    add_plan(parser)
    options = _parsed(parser, arguments)
    allowed = _codes(options)
    words = _split_arguments(options.words)
    cluster = load_cluster(words.names.get("cluster", "local"), words.cluster, options.config_dir)
    expansion, findings = _expand(options, words)
    on_slurm = cluster.kind == "slurm"
    if on_slurm:
        for run in expansion.runs:
            check_shape(cluster, run.config)
    forecast: list[CellForecast] = []
    together: Totals | None = None
    if options.forecast:
        prober = Prober(expansion.runs, expansion.folder, cluster, options.again)
        expansion = replace(expansion, runs=prober.resolve_auto(expansion.runs))
        measured = prober.measure_times(expansion.runs)
        forecast = forecast_cells(expansion.runs, measured)
        concurrent = most_concurrent_runs(cluster)
        together = forecast_totals(expansion.runs, forecast_runs(expansion.runs, measured), concurrent)
    statuses = status_of([run.run_dir for run in expansion.runs], expansion.folder)
    plan = make_plan(expansion, statuses, findings, forecast, together, cluster if on_slurm else None)
    if options.format == "json":
        print(plan.as_json())
    else:
        print_renderable(plan_text(plan, allowed))
    return EXIT_FAILED if refused_codes(findings, allowed) else EXIT_DONE


def _submit(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    add_submit(parser)
    options = _parsed(parser, arguments)
    words = _split_arguments(options.words)
    cluster_name = words.names.get("cluster", "local")
    cluster = _cluster(options, cluster_name, words)
    allowed = _codes(options)
    states = states_to_submit(None if options.retry is None else options.retry.split(","))
    expansion, findings = _expand(options, words)
    if findings:
        print_renderable(findings_text(findings, allowed))
    refuse_errors(findings, allowed)
    request = Request(
        expansion,
        cluster,
        cluster_name,
        words.overrides,
        allowed,
        states,
        options.detach,
        options.forecast,
        options.again,
        options.only,
        options.wait_for_room,
        options.dry_run,
    )
    status = submit(request)
    runs_elsewhere = (cluster.kind == "slurm" or options.detach) and status in (EXIT_DONE, EXIT_INCOMPLETE)
    return wait_for([expansion.folder]) if options.wait and runs_elsewhere and not options.dry_run else status


def _cluster(options: argparse.Namespace, name: str, words: _Arguments) -> ClusterConfig:
    cluster = load_cluster(name, words.cluster, options.config_dir)
    if cluster.kind == "slurm" and (options.jobs is not None or options.detach):
        raise ConfigError(
            "--jobs and --detach need cluster=local; SLURM has cluster.max_concurrent_jobs, and submit never waits."
        )
    return cluster if options.jobs is None else replace(cluster, jobs=options.jobs)
