"""Which part of the code may import which, read from the import statements."""

from __future__ import annotations

import graphlib
import json
import subprocess
import sys

import pytest

from docs.make_architecture import PACKAGES, PICTURE, ROOT, Graph, draw, group, module_imports, reduced

ALL = (*PACKAGES, "benchmarks", "tests")
#: What each folder may import of this repository, besides itself.
MAY_IMPORT = {
    "adabatch": set(),
    "launch": {"adabatch"},
    "analysis": {"adabatch"},
    "benchmarks": {"adabatch", "launch", "analysis"},
    "tests.adabatch": {"adabatch", "tests"},
    "tests.adapters": {"adabatch", "tests"},
    "tests.launch": {"adabatch", "launch", "tests", "tests.adabatch", "tests.slurm"},
    "tests.analysis": {"adabatch", "analysis", "benchmarks", "tests", "tests.adabatch"},  # simulated sweeps
    "tests.benchmarks": {"adabatch", "launch", "analysis", "benchmarks", "tests", "tests.adabatch"},  # recorders
    "tests.slurm": {"tests"},
    "tests": {"adabatch", "launch", "analysis", "tests.adabatch", "tests.launch"},
}
#: Folders of which no file imports torch when it is imported.
WITHOUT_TORCH = ("adabatch.config", "adabatch.schedules", "adabatch.rundir", "adabatch.library", "launch", "analysis")
MOST_FILES_AT_THE_TOP = 15


def folder_of(module: str) -> str:
    """Return the entry of ``MAY_IMPORT`` that a module belongs to."""
    first, _, rest = module.partition(".")
    below = f"{first}.{rest.partition('.')[0]}"
    return below if below in MAY_IMPORT else first


def circle(graph: Graph) -> list[str]:
    """Return the nodes of a circle; empty if there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_one_way(folder: str) -> None:
    wrong = [
        f"{module} imports {name}"
        for module, imported in module_imports(*ALL).items()
        if folder_of(module) == folder
        for name in sorted(imported)
        if folder_of(name) not in MAY_IMPORT[folder] | {folder}
    ]
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    assert circle(module_imports(package)) == []


def test_no_folders_of_adabatch_import_each_other_in_a_circle() -> None:
    modules = module_imports("adabatch")
    assert circle(group(modules, {module: ".".join(module.split(".")[:2]) for module in modules})) == []


def test_few_files_lie_at_the_top_of_adabatch() -> None:
    assert len(list((ROOT / "adabatch").glob("*.py"))) <= MOST_FILES_AT_THE_TOP


@pytest.mark.slow
def test_config_schedules_states_launch_and_analysis_do_not_import_torch() -> None:
    modules = [
        module
        for module in module_imports(*PACKAGES)
        if f"{module}.".startswith(tuple(f"{folder}." for folder in WITHOUT_TORCH)) and not module.endswith("__main__")
    ]
    # Which module is the first one after which torch is there.
    code = f"""
import importlib, json, sys
found = None
for module in {modules!r}:
    importlib.import_module(module)
    if "torch" in sys.modules:
        found = module
        break
print(json.dumps(found))
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) is None


def test_the_picture_shows_the_imports_of_the_code() -> None:
    assert PICTURE.read_text(encoding="utf-8") == draw(), "run: python docs/make_architecture.py"


def test_an_arrow_that_follows_from_a_longer_way_is_left_out() -> None:
    graph = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert reduced(graph) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


def test_a_circle_is_found() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
