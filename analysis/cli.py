"""The commands: tables, report, figure, scorecard, dashboard, and what brings runs in from elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adabatch.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, ConfigError, extra
from adabatch.files import user_path
from adabatch.terminal import complain, counted, print_renderable, run_command
from adabatch.verb_help import VERSION, Verb, help_of, name_of, summary
from analysis import verbs

if TYPE_CHECKING:
    from rich.console import RenderableType

    from analysis.comparison import Comparison

_PROGRAM = "python -m analysis"
#: What is written into a sweep's folder where no other file is named.
_REPORT, _FIGURE = "report.html", "figure.pdf"


def main(arguments: Sequence[str] | None = None, program: str = _PROGRAM) -> int:
    """Run a command and return its exit status: 0 done, 1 a comparison was refused, 2 the call is wrong.

    Args:
        program: what stands before the command, for its help.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser(program)
    if not given:
        parser.print_help(sys.stderr)
        return EXIT_USAGE
    options = parser.parse_args(given)
    command: Callable[[argparse.Namespace], int] = options.command
    return run_command(lambda: command(options))


def _parser(program: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program, description="Tables, figures and reports of finished runs.")
    parser.add_argument("--version", action="version", version=VERSION)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tables = _add(commands, verbs.tables, _tables)
    tables.add_argument(
        "--format",
        choices=("text", "markdown", "latex", "csv", "json"),
        default="text",
        help="csv and json hold every number unrounded",
    )
    _add_comparison_arguments(tables)
    report = _add(commands, verbs.report, _report)
    _add_output(report, "the page to write", _REPORT)
    report.add_argument("--title", help="by default the folders' names")
    _add_comparison_arguments(report)
    figure = _add(commands, verbs.figure, _figure)
    _add_output(figure, "ends in .pdf, .svg or .png", _FIGURE)
    _add_figure_arguments(figure)
    _add_comparison_arguments(figure)
    scorecard = _add(commands, verbs.scorecard, _scorecard)
    scorecard.add_argument("folders", nargs="+", type=user_path, metavar="DIR", help="folders with runs")
    scorecard.add_argument(
        "--reference", default="adabatch_paper", metavar="NAME", help="the claims: adabatch_paper (default), or the "
        "name of a YAML file of your own",
    )  # fmt: skip
    scorecard.add_argument("--format", choices=("text", "markdown", "latex"), default="text")
    scorecard.add_argument("--allow", action="append", default=[], metavar="KEY", help="as for tables")
    _add_importers(commands)
    dashboard = _add(commands, verbs.dashboard, _dashboard)
    dashboard.add_argument(
        "folder", type=user_path, metavar="DIR", help="a folder with runs, or one that will hold them"
    )
    dashboard.add_argument("--port", type=int, default=8050, help="default 8050; 0 for any free one")
    dashboard.add_argument(
        "--prefix", default="/", metavar="PATH", help="behind a proxy: what it puts before the page's path"
    )
    dashboard.add_argument(
        "--host-name",
        action="append",
        default=[],
        metavar="NAME",
        help="behind a proxy: the name by which browsers ask for it; may be given several times",
    )
    return parser


def parser_of(name: str) -> argparse.ArgumentParser:
    """Return the parser of what follows a command, for the completion of lines."""
    commands = next(one for one in _parser(_PROGRAM)._actions if isinstance(one, argparse._SubParsersAction))
    parser: argparse.ArgumentParser = commands.choices[name]
    return parser


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    verb: Verb,
    command: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name_of(verb), help=summary(verb), **help_of(verb))
    parser.set_defaults(command=command)
    return parser


def _add_output(parser: argparse.ArgumentParser, what: str, name: str) -> None:
    parser.add_argument("-o", "--output", type=user_path, metavar="FILE", help=f"{what}; by default {name} in DIR")


def _output(options: argparse.Namespace, name: str) -> Path:
    """Return the file to write: the given one, else one in the only folder."""
    if options.output is not None:
        return Path(options.output)
    if len(options.folders) > 1:
        raise ConfigError(f"-o is not given; it must be where {name} is written, because there are several folders.")
    return Path(options.folders[0], name)


def _add_figure_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pictures", metavar="NAME,...", help="such as batch_size,accuracy_by_seconds; a wrong name lists all"
    )
    parser.add_argument("--group", help="one data set and network, or one point of a grid, of several")
    parser.add_argument("--arms", metavar="NAME,...", help="only these arms, in this order")
    parser.add_argument(
        "--label", action="append", default=[], metavar="ARM=TEXT", help="what an arm is called in the figure"
    )
    parser.add_argument(
        "--width", metavar="SIZE", help="in inches, or 1-column (3.3 inches) or 2-column (7 inches, the default)"
    )
    parser.add_argument("--height", metavar="INCHES", help="by default what the pictures need")
    parser.add_argument("--font-size", metavar="POINTS", help="by default 8")
    parser.add_argument("--title", default="", help="above the pictures; by default none")
    parser.add_argument("--style", metavar="FILE", help="settings of matplotlib: a file, or the name of a style")


def _add_importers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fetch = _add(commands, verbs.fetch_wandb, _fetch_wandb)
    fetch.add_argument("project", metavar="ENTITY/PROJECT")
    offline = _add(commands, verbs.read_wandb, _read_wandb)
    offline.add_argument("folder", type=user_path, metavar="DIR", help="searched for .wandb files")
    foreign = _add(commands, verbs.import_csv, _import_csv)
    foreign.add_argument("files", nargs="+", type=user_path, metavar="FILE", help="CSV, or a trainer_state.json")
    foreign.add_argument("--trainer", required=True, metavar="NAME", help="the other trainer and its version")
    foreign.add_argument(
        "--map", action="append", default=[], metavar="COLUMN=NAME[:UNIT]", help="a column by our name; the unit is "
        "percent, ms, seconds, minutes, hours, MiB, GiB or from_zero",
    )  # fmt: skip
    foreign.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="what is the same in all rows of all files"
    )
    foreign.add_argument(
        "--names", metavar="PATTERN", help="what the files' paths, or wandb's names of runs, say, such as "
        "'{arm}/seed_{seed}/metrics.csv'",
    )  # fmt: skip
    foreign.add_argument(
        "--ignore", action="append", default=[], metavar="COLUMN", help="a column that is left out; * for all unknown"
    )
    foreign.add_argument("--results-only", action="store_true", help="each row is a run of which only the end is known")
    foreign.add_argument(
        "--learning-rate-at", choices=("start", "end", "next"), default="end", help="when a row's rate was taken: at "
        "the start of the epoch, before the schedule changed it; at the end, of the last update (default); after the "
        "schedule's step to the next epoch",
    )  # fmt: skip
    foreign.add_argument(
        "--baseline", action="append", default=[], metavar="[CELL=]ARM", help="the arm that others are compared with, "
        "in all cells (DATASET-NETWORK) or in one",
    )  # fmt: skip
    for parser in (fetch, offline, foreign):
        parser.add_argument(
            "-o", "--output", type=user_path, required=True, metavar="DIR", help="where they are written"
        )


def _add_comparison_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folders", nargs="+", type=user_path, metavar="DIR", help="sweeps' folders, parts of them, or run directories"
    )
    parser.add_argument(
        "--allow", action="append", default=[], metavar="KEY", help="a key in which compared runs may differ; marked"
    )
    parser.add_argument("--baseline", metavar="ARM", help="compare with this arm instead of the sweep's baseline")
    parser.add_argument(
        "--target", type=float, metavar="FRACTION", help="test accuracy to reach, such as 0.925; by default what the "
        "sweep declares, else the baseline's median final one minus the margin",
    )  # fmt: skip
    parser.add_argument(
        "--margin", type=float, metavar="POINTS", help="how much worse is still acceptable; by default what the sweep "
        "declares, else 1",
    )  # fmt: skip
    parser.add_argument(
        "--smallest-effect", type=float, metavar="SHARE", help="the smallest speedup worth naming; by default what the "
        "sweep declares, else 0.02",
    )  # fmt: skip


def _allowed(options: argparse.Namespace) -> list[str]:
    return [key for text in options.allow for key in text.split(",") if key]


def _compare(options: argparse.Namespace) -> Comparison:
    from analysis.collect import load
    from analysis.comparison import compare

    return compare(
        load(*options.folders),
        allow=_allowed(options),
        baseline=options.baseline,
        target=options.target,
        margin=options.margin,
        smallest_effect=options.smallest_effect,
    )


def _status(comparison: Comparison) -> int:
    return EXIT_FAILED if len(comparison.matching.refused) else EXIT_DONE


def _tables(options: argparse.Namespace) -> int:
    from analysis.formats import render

    comparison = _compare(options)
    _print(render(comparison, options.format))
    return _status(comparison)


def _print(content: str | RenderableType) -> None:
    if isinstance(content, str):
        print(content, end="" if content.endswith("\n") else "\n")
    else:
        print_renderable(content)


def _report(options: argparse.Namespace) -> int:
    from analysis.report import write_report

    output = _output(options, _REPORT)
    comparison = _compare(options)
    names = ", ".join(Path(folder).resolve().name for folder in options.folders)
    print(write_report(comparison, output, options.title or names))
    return _status(comparison)


def _figure(options: argparse.Namespace) -> int:
    from analysis.figures.files import DEFAULT, save_figure
    from analysis.figures.options import label_by_arm, names, sheet

    output = _output(options, _FIGURE)
    size = sheet(options.width, options.height, options.font_size, options.title, options.style)
    pictures, arms, labels = names(options.pictures), names(options.arms), label_by_arm(options.label)
    comparison = _compare(options)
    num_left_out = len(comparison.data.runs) - len(comparison.counted.runs)
    if num_left_out:
        are, were = ("is", "it is not done, or was") if num_left_out == 1 else ("are", "they are not done, or were")
        complain(f"{counted(num_left_out, 'run')} {are} not drawn: {were} refused; see tables.")
    drawn = save_figure(
        comparison, output, pictures or DEFAULT, options.group, arms=arms or None, labels=labels, sheet=size
    )
    print(drawn)
    return _status(comparison)


def _scorecard(options: argparse.Namespace) -> int:
    from analysis.collect import load
    from analysis.formats import render_tables
    from analysis.scorecard import find_claims, read_claims, scorecard, scorecard_table

    reference = find_claims(options.reference)
    scores = scorecard(load(*options.folders), read_claims(reference), allow=_allowed(options))
    _print(render_tables([scorecard_table(scores, reference.stem)], (), options.format))
    return EXIT_DONE


def _fetch_wandb(options: argparse.Namespace) -> int:
    from analysis.wandb_api import fetch_wandb

    try:
        return _tell(fetch_wandb(options.project, options.output, report=complain))
    except ConnectionError as error:
        complain(f"{error} Runs fetched so far are complete; the same command goes on.")
        return EXIT_FAILED


def _read_wandb(options: argparse.Namespace) -> int:
    from analysis.wandb_offline import read_offline

    return _tell(read_offline(options.folder, options.output, report=complain))


def _import_csv(options: argparse.Namespace) -> int:
    from analysis.imports import import_logs
    from analysis.imports.options import read_options

    read = read_options(
        options.map,
        options.set,
        options.ignore,
        options.names,
        options.results_only,
        options.learning_rate_at,
        options.baseline,
    )
    imported = import_logs(options.files, options.output, options.trainer, read, report=complain)
    _tell(imported.paths)
    if not imported.paths:
        return EXIT_USAGE
    return EXIT_FAILED if imported.left_out else EXIT_DONE


def _tell(paths: Sequence[Path]) -> int:
    for path in paths:
        print(path)
    return EXIT_DONE if paths else EXIT_FAILED


def _dashboard(options: argparse.Namespace) -> int:
    with extra("dashboard", "the dashboard"):
        from analysis.dashboard import serve

    serve(options.folder, options.port, options.prefix, options.host_name)
    return EXIT_DONE
