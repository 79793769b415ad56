"""The installed command: a wheel in an environment of its own, used from a folder that has a ``launch/`` of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from adabatch import __version__
from adabatch.files import SOURCE_DIR
from tests.adabatch.support import TINY
from tests.launch.support import TWO_ARMS, write_sweep

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]

VERBS = (
    "train", "plan", "submit", "rerun", "cancel", "status", "wait", "logs", "dashboard", "tables", "report", "figure",
    "scorecard", "import-csv", "read-wandb", "fetch-wandb", "verify-resume", "completion",
)  # fmt: skip
SOURCES = ("adabatch", "analysis", "conf", "launch", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel, and the folder from which it is used."""

    environment: Path
    cwd: Path

    @property
    def python(self) -> Path:
        return self.environment / "bin" / "python"

    def run(self, command: Sequence[str | Path], **variables: str) -> subprocess.CompletedProcess[str]:
        given = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment = {**given, "OMP_NUM_THREADS": "1", **variables}
        return subprocess.run(command, cwd=self.cwd, env=environment, capture_output=True, text=True, timeout=240)

    def fails(self, *words: str, status: int, **variables: str) -> str:
        """Call the command, and return what it says on stderr."""
        answer = self.run([self.environment / "bin" / "adabatch", *words], **variables)
        assert answer.returncode == status, answer.stdout + answer.stderr
        assert "Traceback" not in answer.stderr
        return answer.stderr

    def __call__(self, *words: str, **variables: str) -> str:
        """Call the command, which must succeed, and return its output."""
        answer = self.run([self.environment / "bin" / "adabatch", *words], **variables)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy: a build leaves folders beside the sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        source = SOURCE_DIR / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run([*pip, "--wheel-dir", folder, copy], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def adabatch(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Install the wheel; what it depends on is that of this test's environment."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    folders = [folder for folder in sys.path if folder.endswith("-packages")]
    (packages / "dependencies.pth").write_text("\n".join(folders) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    cwd = tmp_path_factory.mktemp("work")
    for name in ("launch", "analysis"):
        (cwd / name).mkdir()
        (cwd / name / "__init__.py").write_text("raise SystemExit('this is not ours')\n")
    write_sweep(cwd / "my", "two", TWO_ARMS)
    return Installed(environment, cwd)


@pytest.fixture(scope="module")
def sweep(adabatch: Installed) -> str:
    """Submit a sweep of four runs from the folder with the decoys."""
    adabatch("submit", "sweep=two", "--config-dir", "my", "cluster=local")
    return "runs/two"


def test_the_command_is_that_of_the_wheel(adabatch: Installed) -> None:
    answer = adabatch.run([adabatch.python, "-P", "-c", "import adabatch, launch, analysis; print(launch.__file__)"])
    assert answer.stdout.startswith(str(adabatch.environment))


def test_every_program_says_its_version(adabatch: Installed) -> None:
    assert adabatch("--version") == f"adabatch {__version__}\n"
    assert adabatch("train", "--version") == f"adabatch {__version__}\n"
    for module in ("adabatch", "launch", "analysis"):
        answer = adabatch.run([adabatch.python, "-P", "-m", module, "--version"])
        assert (answer.returncode, answer.stdout) == (0, f"adabatch {__version__}\n")


def test_help_lists_the_verbs_with_a_line_each(adabatch: Installed) -> None:
    lines = re.findall(r"^  ([a-z-]+)  +(\S.*)$", adabatch("--help").partition("adabatch VERB --help")[0], re.MULTILINE)
    assert [name for name, _ in lines] == list(VERBS)
    assert dict(lines)["tables"].startswith("Print accuracy and speedup tables")


def test_a_bare_call_shows_the_help_and_does_nothing(adabatch: Installed) -> None:
    before = sorted(adabatch.cwd.iterdir())
    assert adabatch.fails(status=2) == adabatch("--help")
    assert adabatch.fails("train", status=2) == adabatch("train", "--help")
    for verb in ("plan", "submit", "verify-resume"):
        assert adabatch.fails(verb, status=2) == adabatch(verb, "--help")
    for module in ("adabatch", "launch", "analysis"):
        answer = adabatch.run([adabatch.python, "-P", "-m", module])
        assert answer.returncode == 2
        assert f"python -m {module}" in answer.stderr
    assert sorted(adabatch.cwd.iterdir()) == before


def test_each_verb_has_a_page_that_names_it(adabatch: Installed) -> None:
    for verb in VERBS:
        page = adabatch(verb, "--help")
        assert "python -m" not in page
        assert f"adabatch {verb} " in page


def test_help_and_version_import_no_library(adabatch: Installed) -> None:
    code = """
import sys
from adabatch.cli import main
heavy = {"torch", "pandas", "numpy", "hydra", "rich", "matplotlib"}
for words in (["--help"], ["--version"], ["tables", "--help"]):
    sys.argv = ["adabatch", *words]
    try:
        main()
    except SystemExit:
        pass
    print("imported", sorted(heavy & sys.modules.keys()))
"""
    output = adabatch.run([adabatch.python, "-P", "-c", code]).stdout
    lines = [line for line in output.splitlines() if line.startswith("imported")]
    assert lines == ["imported []"] * 3


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("tabels", "unknown verb tabels. Did you mean tables? All verbs: adabatch --help."),
        ("xyz", "unknown verb xyz. All verbs: adabatch --help."),
        ("--wrong", "unknown verb --wrong."),
        ("network=tiny_cnn", "network=tiny_cnn is not a verb; to train with it: adabatch train network=tiny_cnn"),
    ],
)
def test_an_unknown_verb_costs_one_sentence(adabatch: Installed, word: str, sentence: str) -> None:
    error = adabatch.fails(word, status=2)
    assert error.startswith(sentence)
    assert len(error.splitlines()) == 1


def test_it_trains(adabatch: Installed) -> None:
    words = ("dataset=digits", "network=tiny_cnn", "num_epochs=1", "hardware.num_threads=1", "run_dir=single")
    adabatch("train", *words)
    assert (adabatch.cwd / "single" / "DONE").exists()
    assert "num_epochs is 0; it must be at least 1" in adabatch.fails("train", "num_epochs=0", status=2)


def test_its_ranks_are_not_led_astray(adabatch: Installed) -> None:
    adabatch("train", *TINY, "num_epochs=1", "hardware.num_devices=2", "run_dir=ranks")
    assert (adabatch.cwd / "ranks" / "DONE").exists()


def test_a_killed_run_is_resumed(adabatch: Installed) -> None:
    assert adabatch("verify-resume", *TINY, "--kills", "1") == "1 kills, 0 differences\n"


def test_a_sweep_is_planned_submitted_and_watched(adabatch: Installed, sweep: str) -> None:
    assert "sweep demo in runs/demo: 12 runs" in adabatch("plan", "sweep=demo")
    forecast = adabatch("plan", "sweep=two", "--config-dir", "my", "--forecast", XDG_CACHE_HOME=str(adabatch.cwd))
    assert "4 runs (4 done)" in forecast
    assert "runs/two: 4 runs: 4 done" in adabatch("status", sweep)
    assert "nothing to submit" in adabatch("submit", "sweep=two", "--config-dir", "my", "cluster=local")


def test_a_detached_queue_runs_a_sweep(adabatch: Installed) -> None:
    adabatch("submit", "sweep=two", "sweep.name=later", "sweep.seeds=[0]", "--config-dir", "my", "--detach")
    adabatch("status", "runs/later", "--watch", "0.2")
    assert len(list((adabatch.cwd / "runs" / "later").rglob("DONE"))) == 2


def test_results_are_shown(adabatch: Installed, sweep: str) -> None:
    assert "Verdicts: synthetic-tiny_cnn, against fixed" in adabatch("tables", sweep)
    assert "| adaptive" in adabatch("tables", sweep, "--format", "markdown")
    assert "Up to 6.25 times faster on four GPUs" in adabatch("scorecard", sweep)
    adabatch("report", sweep, "-o", "report.html")
    assert "Verdicts" in (adabatch.cwd / "report.html").read_text(encoding="utf-8")
    adabatch("figure", sweep, "-o", "figure.svg")
    assert (adabatch.cwd / "figure.svg").exists()


def test_a_folder_that_pythonpath_leads_to_is_not_taken_for_ours(adabatch: Installed, sweep: str) -> None:
    assert "sweep demo" in adabatch("plan", "sweep=demo", PYTHONPATH=".")
    assert "Verdicts" in adabatch("tables", sweep, PYTHONPATH=".")
    words = ("submit", "sweep=two", "sweep.name=astray", "sweep.seeds=[0]", "--config-dir", "my")
    adabatch(*words, PYTHONPATH=".")
    assert len(list((adabatch.cwd / "runs" / "astray").rglob("DONE"))) == 2


def test_the_wheel_holds_what_is_no_code(adabatch: Installed) -> None:
    (packages,) = adabatch.environment.glob("lib/python*/site-packages")
    for name in ("adabatch/py.typed", "launch/py.typed", "analysis/py.typed", "analysis/notebook.ipynb"):
        assert (packages / name).exists()
    assert {path.name for path in (SOURCE_DIR / "conf").rglob("*.yaml")} == {
        path.name for path in (packages / "conf").rglob("*.yaml")
    }
    assert not any((packages / name).exists() for name in ("tests", "benchmarks", "docs"))


def add_package(folder: Path, name: str, module: str, *verbs: str) -> None:
    """Make an installed package of somebody else, with a module and verbs."""
    (folder / f"{name}.py").write_text(module)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[adabatch.verbs]\n" + "".join(f"{verb}\n" for verb in verbs))


def test_other_packages_add_verbs(adabatch: Installed, tmp_path: Path) -> None:
    module = """
import argparse
def export():
    '''Export runs to a spreadsheet.'''
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    print(parser.prog, parser.parse_args().folder)
    return 3
"""
    add_package(tmp_path, "theirs", module, "export = theirs:export", "tables = theirs:export", "gone = theirs:gone")
    path = str(tmp_path)
    page = adabatch("--help", PYTHONPATH=path)
    assert re.search(r"^  export +Export runs to a spreadsheet$", page, re.MULTILINE)
    assert re.search(r"^  gone +\(the verb gone of the package theirs cannot be loaded: ", page, re.MULTILINE)
    answer = adabatch.run([adabatch.environment / "bin" / "adabatch", "export", "runs"], PYTHONPATH=path)
    assert (answer.returncode, answer.stdout) == (3, "adabatch export runs\n")
    assert "the package theirs cannot be loaded" in adabatch.fails("gone", status=2, PYTHONPATH=path)
    # A verb of ours stays ours.
    assert "accuracy and speedup tables" in adabatch("tables", "--help", PYTHONPATH=path)
