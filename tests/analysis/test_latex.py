"""Tables as LaTeX: what is written, and with a real pdflatex what comes of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from analysis.cli import main
from analysis.latex import escaped, to_latex
from analysis.table import Table
from tests.analysis.runs import write_run

NASTY = "a_b%c&d$e#f{g}h~i^j\\k|l<m>n\"o'p`q"
FOREIGN = "é ü ñ ł ß α Ω 中 😀 ± – µ"
DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{textcomp,booktabs,longtable,array,threeparttable}
\begin{document}
%s
\end{document}
"""


def grid_sweep(root: Path) -> Path:
    """Three arms with long names at 3 x 2 grid points."""
    for decay in (0, 0.0005, 0.001):
        for momentum in (0.9, 0.95):
            swept = {"optimizer.weight_decay": decay, "optimizer.momentum": momentum}
            level = "".join(f",{key}={value}" for key, value in swept.items())
            for arm, batches, seconds in (("fixed_small", 10, 20.0), ("fixed_large_by_the_rule", 20, 12.0)):
                for seed in range(2):
                    write_run(
                        root,
                        arm + level,
                        seed,
                        accuracies=(0.5, 0.9 + seed / 1000),
                        epoch_seconds=seconds + seed,
                        batches=batches,
                        baseline="fixed_small" + level,
                        changes=swept,
                        launch={"swept": swept},
                        cell="fashion_mnist-resnet20",
                    )
    return root


def test_every_special_character_is_escaped() -> None:
    assert escaped("a_b % & $ # {x} ~ ^ \\") == (
        r"a\_b \% \& \$ \# \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert escaped("µ ± – é α Ω Α") == r"$\mu$ $\pm$ -- \'{e} $\alpha$ $\Omega$ A"
    assert escaped("95 % CI") == r"95~\% CI"
    assert escaped("中") == r"\texttt{U+4E2D}"
    assert escaped("growing,optimizer.weight_decay=0") == (
        r"growing,\allowbreak{}optimizer.\allowbreak{}weight\_\allowbreak{}decay=\allowbreak{}0"
    )


def test_notes_are_notes_and_a_wide_table_is_continued_with_its_names() -> None:
    wide = Table("wide", "Wide", ["arm", *(f"column {i}" for i in range(12))], [["a", *["0.12 ± 0.04"] * 12]], ["Why."])
    latex = to_latex([wide])
    first, second, *_ = latex.split(r"\end{table}")
    assert r"\begin{tablenotes}" in first
    assert r"\item Why." in first
    assert r"\label{tab:wide}" in first
    assert r"\label{tab:wide-2}" in second
    assert r"Notes: Table~\ref{tab:wide}." in second
    assert "Why." not in re.findall(r"\\caption\[.*", latex)[0]
    bodies = [re.search(r"\\midrule\n(.*?) &", part) for part in (first, second)]
    assert [body and body[1] for body in bodies] == ["a", "a"]
    assert latex.count(r"$\pm$") == 12


def test_a_long_table_breaks_between_pages() -> None:
    rows = [[f"arm_{i}", str(i)] for i in range(100)]
    latex = to_latex([Table("long", "Long", ["arm", "x"], rows, ["Why."])])
    assert r"\begin{longtable}" in latex
    assert r"\begin{table}" not in latex
    assert r"\endfirsthead" in latex
    short = to_latex([Table("short", "Short", ["arm", "x"], rows[:5], [])])
    assert r"\begin{longtable}" not in short
    assert "tablenotes" not in short


def _compiled(folder: Path, body: str) -> str:
    """Return the log of pdflatex; references need a second and widths of long tables a third call."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    (folder / "tables.tex").write_text(DOCUMENT % body, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    for _ in range(3):
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        log = (folder / "tables.log").read_text(encoding="utf-8", errors="replace")
        assert done.returncode == 0, log[-3000:]
    return log


@pytest.mark.tex
def test_the_tables_of_a_sweep_compile_without_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep = grid_sweep(tmp_path / "sweep")
    assert main(["tables", str(sweep), "--format", "latex"]) == 0
    log = _compiled(tmp_path, capsys.readouterr().out)
    assert [line for line in log.splitlines() if re.search("Overfull|Underfull|Warning", line)] == []


@pytest.mark.tex
@pytest.mark.parametrize("text", [NASTY, FOREIGN, f"[1] {NASTY}", f"* {NASTY}"])
def test_a_document_shows_any_text(tmp_path: Path, text: str) -> None:
    rows = [[text, text], [f"*{text}", f"[{text}"]]
    tables = [
        Table("t", text, ["arm", text], rows, [f"! {text}", text]),
        Table("long", text, ["arm", "x"], [[f"{text}{i}", "1"] for i in range(60)], [text]),
    ]
    log = _compiled(tmp_path, to_latex(tables, [text]))
    assert [line for line in log.splitlines() if "Overfull" in line] == []
    assert "Missing character" not in log
