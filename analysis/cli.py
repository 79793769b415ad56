"""The commands: tables, report, figure."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from adabatch.errors import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, ConfigError
from analysis.collect import load
from analysis.comparison import Comparison, compare

_PROGRAM = "python -m analysis"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 a comparison was refused, 2 the call is wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    options = parser.parse_args(given)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return EXIT_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=_PROGRAM, description="Tables, figures and reports of finished runs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tables = commands.add_parser("tables", help="accuracy and speedup tables")
    tables.set_defaults(command=_tables)
    tables.add_argument(
        "--format",
        choices=("text", "markdown", "latex", "csv", "json"),
        default="text",
        help="csv and json hold every number unrounded",
    )
    _add_comparison_arguments(tables)
    report = commands.add_parser("report", help="one self-contained HTML page")
    report.set_defaults(command=_report)
    report.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the page to write")
    report.add_argument("--title", help="by default the folders' names")
    _add_comparison_arguments(report)
    figure = commands.add_parser("figure", help="curves as a file for a paper")
    figure.set_defaults(command=_figure)
    figure.add_argument("folders", nargs="+", metavar="DIR", help="folders with runs")
    figure.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="ends in .pdf, .svg or .png")
    figure.add_argument("--curves", metavar="NAMES", help="such as batch_size,accuracy_by_seconds")
    figure.add_argument("--group", help="one data set and network of several")
    return parser


def _add_comparison_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folders", nargs="+", metavar="DIR", help="sweeps' folders, parts of them, or run directories")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="KEY", help="a key in which compared runs may differ; marked"
    )
    parser.add_argument("--baseline", metavar="ARM", help="compare with this arm instead of the sweep's baseline")
    parser.add_argument(
        "--target", type=float, metavar="FRACTION", help="test accuracy to reach, such as 0.925; by default the "
        "baseline's median final one minus the margin",
    )  # fmt: skip
    parser.add_argument(
        "--margin", type=float, default=1.0, metavar="POINTS", help="how much worse still counts as equal; default 1"
    )


def _compare(options: argparse.Namespace) -> Comparison:
    keys = [key for text in options.allow for key in text.split(",") if key]
    return compare(
        load(*options.folders),
        allow=keys,
        baseline=options.baseline,
        target=options.target,
        margin_points=options.margin,
    )


def _status(comparison: Comparison) -> int:
    return EXIT_FAILED if len(comparison.matching.refused) else EXIT_DONE


def _tables(options: argparse.Namespace) -> int:
    from adabatch.terminal import print_renderable
    from analysis.formats import render

    comparison = _compare(options)
    content = render(comparison, options.format)
    if isinstance(content, str):
        print(content, end="" if content.endswith("\n") else "\n")
    else:
        print_renderable(content)
    return _status(comparison)


def _report(options: argparse.Namespace) -> int:
    from analysis.report import write_report

    comparison = _compare(options)
    names = ", ".join(Path(folder).resolve().name for folder in options.folders)
    print(write_report(comparison, options.output, options.title or names))
    return _status(comparison)


def _figure(options: argparse.Namespace) -> int:
    from analysis.paper_figures import DEFAULT, save_figure

    names = options.curves.split(",") if options.curves else list(DEFAULT)
    print(save_figure(load(*options.folders), options.output, names, options.group))
    return EXIT_DONE
