"""Tables as LaTeX, for pdfLaTeX and for engines that read Unicode."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from adabatch.shell.fitting import MORE_PLACES, PLACES, Widths, columns_that_fit, widths_of, wrapped
from analysis.table import JOINED, Table, is_number

#: The width of a text in the class article, in points, and some less; a wider table is continued in another one.
_TEXT_WIDTH = 340.0
#: Between two columns, in points.
_GAP = 8.0
#: The height of a page in lines; a table that needs more may break between pages.
_MOST_LINES = 38
#: Points of an em in the size of these tables.
_EM = 8.55
#: A cell up to this wide, in points, is not wrapped.
_UNWRAPPED = 105.0
#: A name up to this long, in characters, stays in one line.
_UNBROKEN = 14
_HEAD = """\
% needs \\usepackage{booktabs,longtable,array,threeparttable}"""
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "_": r"\_", "%": r"\%", "&": r"\&", "$": r"\$", "#": r"\#",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "'": r"\textquotesingle{}",
    "–": "--", "—": "---", "±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "…": r"\ldots{}", "−": "$-$",
    "µ": r"$\mu$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "→": r"$\rightarrow$", "°": r"$^\circ$",
    "’": "'", "‘": "`", "“": "``", "”": "''", "ß": r"\ss{}", "ø": r"\o{}", "Ø": r"\O{}", "æ": r"\ae{}", "Æ": r"\AE{}",
    "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}", "œ": r"\oe{}", "Œ": r"\OE{}", "\u00a0": "~",
}  # fmt: skip
_ACCENTS = {
    "\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~", "\u0304": r"\=", "\u0306": r"\u",
    "\u0307": r"\.", "\u0308": r"\"", "\u030a": r"\r", "\u030b": r"\H", "\u030c": r"\v", "\u0327": r"\c",
}  # fmt: skip
_GREEK = re.compile(r"GREEK (SMALL|CAPITAL) LETTER (\w+)")
#: Greek letters that LaTeX has no command for look like Latin ones.
_LATIN_LIKE = {
    "OMICRON": "oO", "ALPHA": " A", "BETA": " B", "EPSILON": " E", "ZETA": " Z", "ETA": " H", "IOTA": " I",
    "KAPPA": " K", "MU": " M", "NU": " N", "RHO": " P", "TAU": " T", "CHI": " X",
}  # fmt: skip
#: Widths of characters in em, of Computer Modern in the size of these tables; others are as wide as an n.
_EMS = {
    char: ems
    for ems, chars in (
        (0.30, "ijl.,:;'|![]"), (0.40, "frst-()`{} "), (0.46, "cez"), (0.51, "ago/*0123456789"), (0.74, "w"),
        (0.78, "+=<>ABCDEFGHJKLNOPQRSTUVXYZ~^"), (0.84, "m%&@"), (0.80, "±×−–"), (1.04, "MW—…"),
    )
    for char in chars
}  # fmt: skip


def to_latex(tables: Sequence[Table], closing: Sequence[str] = ()) -> str:
    """Return the tables as LaTeX with booktabs rules and table notes; every special character is escaped.

    A table that is wider than a page is continued in another one, and one that is longer breaks between pages.
    """
    parts = [_HEAD, *(part for table in tables for part in _parts(table))]
    return "\n\n".join(parts) + "\n" + "".join(f"% {sentence}\n" for sentence in closing)


def escaped(text: str) -> str:
    r"""Return a text as LaTeX that shows it; long names may break after ``\_``, ``=`` and the like."""
    return re.sub(r"(?<=\d) (?=\\%)", "~", " ".join(map(_escaped_word, text.split(" "))))


def _escaped_word(word: str) -> str:
    parts = PLACES.split(word) if len(word) > _UNBROKEN else [word]
    pieces = [piece for part in parts for piece in (MORE_PLACES.split(part) if len(part) > _UNBROKEN else [part])]
    return r"\allowbreak{}".join("".join(map(_character, piece)) for piece in pieces)


def _character(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if char.isascii():
        return char
    greek = _GREEK.fullmatch(unicodedata.name(char, ""))
    if greek:
        is_capital, name = greek[1] == "CAPITAL", greek[2].replace("LAMDA", "LAMBDA")
        latin = _LATIN_LIKE.get(name, "  ")[is_capital].strip()
        return latin or f"$\\{name.capitalize() if is_capital else name.lower()}$"
    base, mark = unicodedata.normalize("NFD", char)[0], unicodedata.normalize("NFD", char)[1:]
    if base.isascii() and mark in _ACCENTS:
        return f"{_ACCENTS[mark]}{{{base}}}"
    return f"\\texttt{{U+{ord(char):04X}}}"


def _points(text: str) -> float:
    """Return how wide a text is set, in points, and rather too much."""
    return _EM * sum(_EMS.get(char, 0.57 if char.isascii() or char in _SPECIAL else 3.2) for char in text)


def _parts(table: Table) -> Iterator[str]:
    """Yield the table and, where it is too wide, those that continue it."""
    sizes = [
        widths_of(name, [row[place] for row in table.rows], _points, _UNWRAPPED)
        for place, name in enumerate(table.columns)
    ]
    joined = [place for place, column in enumerate(table.columns) if column in JOINED]
    fitting = columns_that_fit(sizes, table.num_names, _TEXT_WIDTH, _GAP, joined)
    for place, widths in enumerate(fitting):
        label = f"tab:{table.name}" + (f"-{place + 1}" if place else "")
        part = f" ({place + 1}~of~{len(fitting)})" if len(fitting) > 1 else ""
        title = f"{escaped(table.title)}{part}."
        caption = f"\\caption[{{{title}}}]{{\\raggedright {title}}}\\label{{{label}}}"
        notes = [escaped(note.removeprefix("! ")) for note in table.notes]
        if place:
            notes = [f"Notes: Table~\\ref{{tab:{table.name}}}."] if notes else []
        yield _Part(table, sizes, widths, caption, notes).text()


class _Part:
    """A LaTeX table: some columns of one."""

    def __init__(
        self, table: Table, sizes: Sequence[Widths], widths: dict[int, float], caption: str, notes: Sequence[str]
    ) -> None:
        self._table = table
        self._sizes = sizes
        self._widths = widths
        self._caption = caption
        self._notes = [f"  \\item {note}" for note in notes]

    def text(self) -> str:
        lines = self._long() if self._num_lines() > _MOST_LINES else self._floating()
        return "\n".join(lines)

    def _num_lines(self) -> int:
        """Return about how many lines the body has."""
        rows = self._table.rows
        return sum(max(len(wrapped(row[c], width, _points)) for c, width in self._widths.items()) for row in rows)

    def _floating(self) -> list[str]:
        notes = [r"\begin{tablenotes}[flushleft]\raggedright", *self._notes, r"\end{tablenotes}"] if self._notes else []
        return [
            r"\begin{table}[htbp]",
            r"\centering\footnotesize",
            rf"\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}",
            r"\renewcommand{\TPTminimum}{0.8\linewidth}",
            r"\begin{threeparttable}",
            self._caption,
            rf"\begin{{tabular}}{{{self._layout()}}}",
            *self._head(),
            *self._body(),
            r"\bottomrule",
            r"\end{tabular}",
            *notes,
            r"\end{threeparttable}",
            r"\end{table}",
        ]

    def _long(self) -> list[str]:
        notes = [r"\begin{tablenotes}[flushleft]\raggedright", *self._notes, r"\end{tablenotes}"] if self._notes else []
        return [
            r"\begingroup\footnotesize",
            rf"\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}",
            rf"\begin{{longtable}}{{{self._layout()}}}",
            self._caption + r"\\",
            *self._head(),
            r"\endfirsthead",
            rf"\multicolumn{{{len(self._widths)}}}{{@{{}}l}}{{(continued)}}\\",
            *self._head(),
            r"\endhead",
            r"\bottomrule",
            r"\endfoot",
            *self._body(),
            r"\end{longtable}",
            *notes,
            r"\endgroup",
        ]

    def _layout(self) -> str:
        columns = (self._column(place, width) for place, width in self._widths.items())
        return f"@{{}}{''.join(columns)}@{{}}"

    def _column(self, place: int, width: float) -> str:
        if max((_points(row[place]) for row in self._table.rows), default=0.0) > width:
            return rf">{{\raggedright\arraybackslash}}p{{{width:.1f}pt}}"
        return "r" if is_number(self._table, self._table.columns[place]) else "l"

    def _head(self) -> list[str]:
        cells = []
        for place, width in self._widths.items():
            lines = [escaped(line) for line in wrapped(self._table.columns[place], width, _points)]
            side = "r" if self._column(place, width) == "r" else "l"
            stacked = rf"\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}" + r" \\ ".join(lines) + r"\end{tabular}"
            cells.append(lines[0] if len(lines) == 1 else stacked)
        return [r"\toprule", " & ".join(cells) + r" \\", r"\midrule"]

    def _body(self) -> list[str]:
        return [" & ".join(_start(escaped(row[place])) for place in self._widths) + r" \\" for row in self._table.rows]


def _start(cell: str) -> str:
    r"""Return a cell that is not read as an option of the ``\\`` before it."""
    return f"{{}}{cell}" if cell.startswith(("[", "*")) else cell
