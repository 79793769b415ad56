"""One self-contained page: the result, pictures, tables, failures, provenance and the data itself.

plotly's code and the figures are most of a page: they are compressed, and the browser unpacks them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import adabatch
from adabatch.files import output
from adabatch.reading import printable
from analysis.comparison import Comparison
from analysis.embedded import packed, packed_csv
from analysis.figures.marks import Picture
from analysis.figures.page import Framed, framed_parts
from analysis.figures.registry import PICTURES, build
from analysis.figures.screen import dark_colours, draw
from analysis.figures.source import Source, groups, level_names, source_of
from analysis.formats import numbers
from analysis.names import pieces
from analysis.paths import Shortener
from analysis.table import Table, has_words, is_number
from analysis.tables import make_tables
from analysis.tables_of_runs import provenance
from analysis.tones import tones

#: Of the page, what the epochs may take, compressed and as text. With all else, a page of 1,000 runs stays below 6 MB.
MOST_EPOCHS_CHARACTERS = 2_500_000
#: Spaces at which no line ends, such as those of "n = 2" and "95 %".
_WITHIN_A_NUMBER = re.compile(r" (?==)|(?<==) |(?<=\d) (?=%)")
#: In letters: longer names, and cells of more words than these, are not squeezed.
_LONG_NAME, _LONG = 12, 24
#: plotly's own buttons would send the figure to a server.
_PLOT_CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False, "plotlyServerURL": ""}
#: What the table of runs says of each, by column of the frame.
_RUN_COLUMNS = {
    "state": "state", "cause": "cause", "git_sha": "code", "torch": "torch", "device_model": "device",
    "config_hash": "config",
}  # fmt: skip


def write_report(comparison: Comparison, path: str | Path, title: str) -> Path:
    """Write the page; it loads nothing from anywhere, and its tables need no JavaScript.

    It carries the frames as compressed CSV; of the epochs, which are most of them, only as much as
    `MOST_EPOCHS_CHARACTERS`, and the page says where they are otherwise. No path of the machine is in it.

    Example:
        >>> analysis.write_report(analysis.compare(data), "report.html", "My sweep")
    """
    data = comparison.data
    short = Shortener(data.runs.index)
    source = source_of(comparison)
    over_all, by_group = _over_all(source), _by_group(source)
    shown = [one for pictures in (over_all, *by_group.values()) for one in pictures]
    tables = make_tables(comparison)
    page = _environment().get_template("report.html.jinja").render(
        title=short.text(printable(title)),
        version=adabatch.__version__,
        made_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        css=Markup(_text("templates/report.css")),
        js=Markup(_text("assets/narrow.js") + _text("templates/report.js")),
        provenance=[short.text(printable(sentence)) for sentence in provenance(comparison)],
        verdicts=[table for table in tables if table.name == "verdicts"],
        tables=[table for table in tables if table.name != "verdicts"],
        over_all=over_all,
        by_group=by_group.items(),
        plotly_js=packed(_text("assets/plotly-cartesian.min.js").encode()),
        figures=packed(_figures(shown).encode()),
        dark_colours=Markup(json.dumps(dark_colours([one.picture for one in shown]))),
        plot_config=Markup(json.dumps(_PLOT_CONFIG)),
        runs=_run_table(data.runs, short),
        numbers_csv=packed_csv(short.frame(numbers(comparison))),
        runs_csv=packed_csv(short.frame(data.runs.reset_index(names="run"))),
        epochs_csv=packed_csv(_short_epochs(data.epochs, short), MOST_EPOCHS_CHARACTERS),
        num_epochs=len(data.epochs),
        most_megabytes=MOST_EPOCHS_CHARACTERS / 1e6,
    )  # fmt: skip
    with output("-o", Path(path)) as file:
        file.write_text(page, encoding="utf-8")
    return Path(path)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("analysis"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["breakable"] = _breakable
    environment.filters["kind"] = _kind
    environment.globals["tones"] = tones
    return environment


def _text(name: str) -> str:
    return files("analysis").joinpath(name).read_text(encoding="utf-8")


def _breakable(text: str) -> Markup:
    """Return a text whose long names may go on in the next line, behind a mark between words; "n = 2" stays whole."""
    return Markup("<wbr>").join(pieces(_WITHIN_A_NUMBER.sub("\N{NO-BREAK SPACE}", text)))


def _kind(column: str, table: Table, cell: str = "", tone: str = "") -> Markup:
    """Return the class of a cell: where it stands, and in which colour."""
    kinds = ["number" if is_number(table, column) else "name" if column == table.columns[0] else ""]
    kinds.append("words" if is_number(table, column) and has_words(cell) else "")
    most = _LONG_NAME if column == table.columns[0] else _LONG
    kinds.append("long" if not is_number(table, column) and len(cell) > most else "")
    said = " ".join(filter(None, [*kinds, tone]))
    return Markup(f' class="{said}"' if said else "")


def _over_all(source: Source) -> list[Framed]:
    names = [kind.name for kind in PICTURES.values() if not kind.is_per_group]
    return _framed({f"figure-{name}": build(name, source) for name in names})


def _by_group(source: Source) -> dict[str, list[Framed]]:
    """Return its pictures by what a group is called."""
    names = [kind.name for kind in PICTURES.values() if kind.is_per_group]
    found = {}
    for number, (group, heading) in enumerate(level_names(groups(source.data)).items(), start=1):
        found[heading] = _framed({f"figure-{number}-{name}": build(name, source, group) for name in names})
    return found


def _framed(pictures: Mapping[str, Picture]) -> list[Framed]:
    """Return pictures by their place in the page; those that have nothing to show are left out."""
    return [part for place, one in pictures.items() if not one.empty for part in framed_parts(place, one)]


def _figures(shown: Sequence[Framed]) -> str:
    members = [f"{json.dumps(one.place)}: {draw(one.picture, framed=False).to_json()}" for one in shown]
    return "{" + ", ".join(members) + "}"


def _short_epochs(epochs: pd.DataFrame, short: Shortener) -> pd.DataFrame:
    return epochs.assign(run=[short.text(str(run)) for run in epochs.run])


def _run_table(runs: pd.DataFrame, short: Shortener) -> Table:
    """Return where the numbers come from, a row a run; what is the same for all runs is said once, below."""
    known = runs.reindex(columns=list(_RUN_COLUMNS)).rename(columns=_RUN_COLUMNS).astype(object)
    texts = known.where(known.notna(), "").map(lambda value: short.text(str(value)))
    is_changed = runs.git_dirty.eq(True).tolist()
    texts["code"] = [sha[:8] + "+changes" * dirty for sha, dirty in zip(texts["code"], is_changed, strict=True)]
    same = [name for name in texts if name != "state" and len(texts) > 1 and texts[name].nunique() == 1]
    shared = [f"{name} {texts[name].iloc[0]}" for name in same if texts[name].iloc[0]]
    texts = texts.drop(columns=same)
    texts.insert(0, "run", [short.text(str(run)) for run in runs.index])
    notes = [f"All runs: {', '.join(shared)}."] if shared else []
    return Table("runs", "Runs", list(texts.columns), texts.to_numpy().tolist(), notes)
