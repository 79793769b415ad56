"""setup.cfg says what the code has: the packages that it imports, and the verbs."""

from __future__ import annotations

import ast
import configparser
import functools
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from plotly.offline import get_plotlyjs_version

from adabatch.files import SOURCE_DIR
from adabatch.verb_help import name_of, summary
from analysis.cli import main as analysis_main
from docs.make_architecture import PACKAGES
from launch.cli import main as launch_main

#: Required, and imported by another package: pandas' ``to_markdown``.
INDIRECT = {"tabulate"}
#: Extras for users; ``dev`` is for those who change the code.
EXTRAS = {"dashboard", "parquet", "adapters", "tensorboard", "safetensors", "timm", "datasets", "all"}


@pytest.fixture(scope="module")
def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(SOURCE_DIR / "setup.cfg", encoding="utf-8")
    return parser


def required(lines: str) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines.split("\n") if line.strip()}


def imported_modules() -> Iterator[tuple[str, str]]:
    """Yield the top-level modules of others that our packages import anywhere, and the file."""
    own = {*PACKAGES, *sys.stdlib_module_names}
    for path in (path for package in PACKAGES for path in sorted((SOURCE_DIR / package).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                names = [node.module]
            tops = {name.partition(".")[0] for name in names}
            yield from ((top, str(path.relative_to(SOURCE_DIR))) for top in sorted(tops - own))


@functools.cache
def installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def distributions(module: str) -> set[str]:
    """Return which packages bring a module, by their names in setup.cfg."""
    return {canonicalize_name(name) for name in installed().get(module, [module])}


def test_what_is_imported_is_declared(setup: configparser.ConfigParser) -> None:
    extras = setup["options.extras_require"]
    declared = required(setup["options"]["install_requires"]).union(
        *(required(extras[name]) for name in EXTRAS - {"all"})
    )
    by_module = {module: distributions(module) for module, _ in imported_modules()}
    missing = [f"{file} imports {module}" for module, file in imported_modules() if not by_module[module] & declared]
    assert not missing


def test_what_everybody_must_install_is_imported(setup: configparser.ConfigParser) -> None:
    used = set().union(*(distributions(module) for module in {module for module, _ in imported_modules()}))
    assert required(setup["options"]["install_requires"]) - used == INDIRECT


def test_all_holds_the_other_extras(setup: configparser.ConfigParser) -> None:
    extras = setup["options.extras_require"]
    assert set(extras) == EXTRAS | {"dev"}
    assert Requirement(extras["all"].strip()).extras == EXTRAS - {"all"}


def verbs_of(setup: configparser.ConfigParser, package: str) -> dict[str, str]:
    lines = setup["options.entry_points"]["adabatch.verbs"].strip().splitlines()
    verbs = dict(re.split(r"\s*=\s*", line) for line in lines)
    return {name: value for name, value in verbs.items() if value.startswith(f"{package}.")}


@pytest.mark.parametrize("package", PACKAGES)
def test_verbs_are_functions_with_a_line_of_help(setup: configparser.ConfigParser, package: str) -> None:
    verbs = verbs_of(setup, package)
    assert verbs
    for name, value in verbs.items():
        module, _, function = value.partition(":")
        verb = getattr(importlib.import_module(module), function)
        assert name_of(verb) == name
        assert 10 < len(summary(verb)) < 100


@pytest.mark.parametrize(("package", "main"), [("launch", launch_main), ("analysis", analysis_main)])
def test_every_command_of_a_package_is_a_verb(
    setup: configparser.ConfigParser, package: str, main, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 2
    listed = re.findall(r"^ {2,4}([a-z][a-z-]*)(?=  |\n {5})", capsys.readouterr().err, re.MULTILINE)
    assert sorted(listed) == sorted(verbs_of(setup, package))


def test_what_pages_load_is_packaged_with_its_licence(setup: configparser.ConfigParser) -> None:
    assets = sorted((SOURCE_DIR / "analysis" / "assets").iterdir())
    patterns = re.split(r",\s*", setup["options.package_data"]["*"])
    assert [file.name for file in assets if not any(file.match(pattern) for pattern in patterns)] == []
    licences = setup["metadata"]["license_files"].split()
    for bundle in (file for file in assets if file.name.endswith(".min.js")):
        licence = bundle.with_name(f"{bundle.name.removesuffix('.min.js')}.LICENSE.txt")
        assert "MIT License" in licence.read_text(encoding="utf-8")
        assert any(licence.relative_to(SOURCE_DIR).match(pattern) for pattern in licences)


def test_the_bundle_of_plotly_draws_what_plotly_makes() -> None:
    with open(SOURCE_DIR / "analysis" / "assets" / "plotly-cartesian.min.js", encoding="utf-8") as file:
        bundled = re.search(r"plotly.js \(cartesian - minified\) v(\d+)", file.read(200))
    assert bundled is not None
    assert int(bundled[1]) >= int(get_plotlyjs_version().partition(".")[0])


def test_a_missing_extra_is_named(tmp_path, monkeypatch, capsys) -> None:
    for name in [name for name in sys.modules if name.startswith("analysis.dashboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dash", None)
    assert analysis_main(["dashboard", str(tmp_path)]) == 2
    sentence = "the dashboard needs the package dash, which is not installed: pip install 'adabatch[dashboard]'\n"
    assert capsys.readouterr().err == sentence


def test_the_citation_has_what_the_format_asks_for() -> None:
    citation = yaml.safe_load((SOURCE_DIR / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["license"] == "MIT"
