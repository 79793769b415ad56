"""The pages say what the code has: links, commands, the file tree, columns, states, lint codes, files and causes."""

from __future__ import annotations

import configparser
import importlib.util
import re
from pathlib import Path

import pytest

from adabatch.config import CONF_DIR
from adabatch.config.schema import GROUPS
from adabatch.errors import RunFailure
from adabatch.files import SOURCE_DIR
from adabatch.rundir.columns import COLUMNS
from adabatch.rundir.files import RunDir
from adabatch.rundir.states import State
from analysis.cli import main as analysis_main
from launch.cli import main as launch_main
from launch.lint import CODES

DOCS = SOURCE_DIR / "docs"
PAGES = [*sorted(SOURCE_DIR.glob("*.md")), *sorted(DOCS.glob("*.md"))]
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(page: Path, title: str) -> str:
    """Return the text below a heading, up to the next one of its level or above."""
    lines = text_of(page).splitlines()
    start = next(place for place, line in enumerate(lines) if line.lstrip("#") == f" {title}" and line[:1] == "#")
    level = len(lines[start]) - len(lines[start].lstrip("#"))
    ends = (place for place in range(start + 1, len(lines)) if re.match(rf"#{{1,{level}}} ", lines[place]))
    return "\n".join(lines[start + 1 : next(ends, len(lines))])


def rows_of(text: str) -> list[list[str]]:
    """Return the cells of a text's tables, without their heads."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    heads = {place - 1 for place, row in enumerate(cells) if set(row[0]) <= set("-:")}
    return [row for place, row in enumerate(cells) if place not in heads and place - 1 not in heads]


def verbs() -> set[str]:
    setup = configparser.ConfigParser()
    setup.read(SOURCE_DIR / "setup.cfg", encoding="utf-8")
    return set(re.findall(r"^([\w-]+) =", setup["options.entry_points"]["adabatch.verbs"], re.MULTILINE))


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in _LINK.findall(_FENCE.sub("", text_of(page))):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.exists() and (not anchor or anchor in anchors(target))
        dead += [] if is_there else [link]
    assert not dead


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if page.name == "CHANGELOG.md":
        pytest.skip("it names what was removed, too")
    text = " ".join(text_of(page).split())
    modules = set(re.findall(r"python -m ([a-z_][\w.]*)", text))
    assert [module for module in sorted(modules) if importlib.util.find_spec(module) is None] == []
    mains = {"launch": launch_main, "analysis": analysis_main}
    for package, verb in sorted(set(re.findall(r"python -m (launch|analysis) ([a-z][a-z-]*)", text))):
        with pytest.raises(SystemExit) as stopped:
            mains[package]([verb, "--help"])
        assert stopped.value.code == 0, f"{package} {verb}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_verbs_exist(page: Path) -> None:
    code = "\n".join([*_FENCE.findall(text_of(page)), *names_in(_FENCE.sub("", text_of(page)))])
    # `export` is the example of a verb of somebody else.
    assert set(re.findall(r"^adabatch ([a-z][a-z-]+)", code, re.MULTILINE)) <= verbs() | {"export"}


def test_every_verb_is_described() -> None:
    described = {name for row in rows_of(text_of(DOCS / "commands.md")) for name in names_in(row[0])}
    assert verbs() <= described


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_targets_of_make_exist(page: Path) -> None:
    rules = set(re.findall(r"^([\w-]+):", text_of(SOURCE_DIR / "Makefile"), re.MULTILINE))
    code = "\n".join([*_FENCE.findall(text_of(page)), *names_in(_FENCE.sub("", text_of(page)))])
    assert set(re.findall(r"^make ([\w-]+)", code, re.MULTILINE)) <= rules


def test_the_file_tree_names_what_there_is() -> None:
    block = _FENCE.findall(section(SOURCE_DIR / "README.md", "Where things are"))[0].splitlines()[1:-1]
    named: list[str] = []
    for line in block:
        path, indent = line.split()[0], len(line) - len(line.lstrip())
        named.append(f"{next(entry for entry in reversed(named) if entry.count('/') == 1)}{path}" if indent else path)
    assert [path for path in named if not (SOURCE_DIR / path).exists()] == []
    folders = [path for path in (SOURCE_DIR / "adabatch").iterdir() if (path / "__init__.py").exists()]
    assert {f"adabatch/{folder.name}/" for folder in folders} <= set(named)
    packages = [path.parent for path in SOURCE_DIR.glob("*/__init__.py")]
    assert {f"{package.name}/" for package in packages} | {"conf/", "docs/"} <= set(named)
    (conf,) = [line for line in block if line.startswith("conf/")]
    assert {path.name for path in CONF_DIR.iterdir() if path.is_dir()} <= set(re.findall(r"\w+", conf))
    assert set(GROUPS) <= set(re.findall(r"\w+", conf))


def test_every_column_of_epochs_csv_is_described() -> None:
    rows = rows_of(section(DOCS / "run_directory.md", "Columns of `epochs.csv`"))
    described = [name for row in rows for name in names_in(row[0])]
    assert sorted(described) == sorted(COLUMNS)


def test_every_file_of_a_run_directory_is_described() -> None:
    attributes = (getattr(RunDir("run"), name) for name in vars(RunDir))
    files = {path.name for path in attributes if isinstance(path, Path)}
    described = {name for row in rows_of(text_of(DOCS / "run_directory.md")) for name in names_in(row[0])}
    assert files <= described


def test_every_cause_of_failure_is_listed() -> None:
    rows = rows_of(section(DOCS / "run_directory.md", "Exit status and causes"))
    (causes,) = [names_in(row[1]) for row in rows if row[0] == "1"]
    assert set(causes) == {cause.__name__ for cause in RunFailure.__subclasses__()} | {"Exception", "OwnCodeError"}


def test_every_state_is_described() -> None:
    rows = rows_of(section(DOCS / "architecture.md", "States"))
    assert sorted(name for row in rows for name in names_in(row[0])) == sorted(State)
    rows = rows_of(section(DOCS / "analysis.md", "Frames"))
    assert sorted(name for row in rows for name in names_in(row[0])) == sorted(State)


def test_every_lint_code_is_described_with_its_level() -> None:
    rows = rows_of(section(DOCS / "sweeps.md", "Lint"))
    described = {code: row[1] for row in rows for code in names_in(row[0])}
    assert described == {code: level for code, (level, _) in CODES.items()}


def test_anchors_are_made_as_github_makes_them() -> None:
    found = anchors(DOCS / "run_directory.md")
    assert {"columns-of-epochscsv", "exit-status-and-causes", "the-run-directory"} <= found


def test_a_table_is_read_without_its_head() -> None:
    assert rows_of("text\n| a | b |\n|---|---|\n| `x`, `y` | z |\n| 1 | 2 |\n") == [["`x`, `y`", "z"], ["1", "2"]]
