"""Makes hostile command lines, option files and sweeps from a seed, and runs each in this process up to the training.

Whatever is given, a command ends in time with status 0, or with status 2 and a sentence; it writes nothing outside its
runs, and no option file runs code.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest
from hydra.core.global_hydra import GlobalHydra

import adabatch.command
import adabatch.run
import analysis.cli
import launch.cli
from adabatch.config import load_config
from adabatch.config.keys import KEYS
from tests.adabatch.support import TINY

_SECONDS = 30.0
#: Where a hostile file tries to write; the driver replaces it by a path.
_OUTSIDE = "@OUTSIDE@"
_LONG = "x" * 5000
_NUMBERS = [
    "0", "1", "-1", "2", "7", "0.0", "-0.0", "0.1", "1e-1", ".1", "1e3", "1e400", "-1e400", "1e-400", "5e-324", "nan",
    "inf", "-inf", "NaN", "Infinity", "1_000", "0x1F", "007", "1e", "--1", "2147483648", "10000000000", "1" + "0" * 12,
    "1" + "0" * 18, "9" * 400, "-" + "9" * 400, "0." + "3" * 400, "9" * 5000, "1.0", "3.7", "1e9", "12:30", "1,000",
]  # fmt: skip
_WORDS = [
    "", " ", "null", "None", "~", "true", "True", "false", "yes", "no", "on", "off", "2024-01-01", "auto", "cuda", "ü",
    "a b", " a", "a=b", "'a", '"a"', "a'b", "\\", "a\\,b", "%s", "{0}", "a\nb", "a\tb", "\x1b[2J", "\x7f", "\udcff",
    "[/x]", "[bold]", "a/../b", "/etc/passwd", "/dev/null", "~/x", "a/b/c", "x" * 300, _LONG, "module:Name",
    "os:system", "subprocess:Popen", "nowhere.at.all:X", "torch.nn:Linear", "builtins:eval", ":", "a:", ":b", "twin(a)",
    "@", "*a", "&a", "#", "!!python/name:os.system", "???",
]  # fmt: skip
_LISTS = [
    "[]", "[1]", "[1,2]", "[[1]]", "[a,b]", "[null]", "[1,a]", "[0.5,nan]", "{}", "{a:1}", "{a:{b:1}}", "[", "]", "{",
    "1,2", "a,b,", "range(3)", "range(0,1000000000)", "choice(1,2)", "interval(0,1)", "glob(*)", "shuffle(1,2)",
    "sort(2,1)", "int(3.7)", "float(1)", "str(1)", "bool(1)", "json_str(x)", "extend_list(1)", "tag(a,1)",
    "[" * 400 + "]" * 400, "[1e400]", "{_target_:os.getcwd}", "resnet20,resnet14", "[resnet20,resnet14]",
]  # fmt: skip
_REFERENCES = [
    "${seed}", "${oc.env:HOME}", "${oc.env:NOT_SET,1}", "${oc.decode:'1'}", "${oc.create:{a:1}}", "${oc.select:seed}",
    "${hydra:runtime.cwd}", "${now:%Y}", "${python_version:}", "${nowhere}", "${", "${}", "${num_epochs}", "${run_dir}",
    "${oc.deprecated:seed}", "${oc.dict.keys:dataset}", "${adabatch.help:}", "${a.b.c}", "$HOME", "${oc.env:${seed}}",
    "${..seed}", "${dataset.name}",
]  # fmt: skip
#: Values that fit a type, most of them.
_FITTING = {
    "list[int]": ["[1,2]", "[3]", "null", "[2,1]", "[1.5]"],
    "list[float]": ["[0.5]", "[0.5,0.1]", "[1]", "null"],
    "bool": ["true", "false", "True", "yes", "1", "0", "2147483648", "null"],
    "int": ["1", "2", "3", "4", "8", "16", "60", "64", "100", "1e1", "4.0", "null", "auto", "1000000"],
    "float": ["0.1", "1e-1", "0.5", "1", "0.999", "1e-3", "2", "null"],
    "str": ["tiny_cnn", "abc", "null", "1e3", "007", "true", "micro", "ghost", "sync", "keep", "drop", "cpu", "1_0"],
    "Any": ["8", "auto", "null", "true", "reduce-overhead"],
}
_WORD_KEYS = [
    "hydra.run.dir", "hydra.job.chdir", "hydra/launcher", "hydra.callbacks.x._target_", "hydra.searchpath", "hydra",
    "hydra.job.env_set.X", "hydra.output_subdir", "hydra.verbose", "hydra/job_logging", "hydra.job_logging.root",
    "hydra.sweeper._target_", "hydra.mode", "_target_", "dataset._target_", "network.args._target_", "network.args.x",
    "optimizer.args.lr", "metrics.x", "network@schedule", "network@_global_", "dataset@x.y", "x", "", ".", "seed.x",
    "network.", ".seed", "a" * 300, "optimizer.learning_rte", "defaults", "schedule", "network", "dataset", "optimizer",
    "hardware", "tracker", "checkpoint", "config", "sweep", "sweep.seeds", "cluster", "cluster.jobs", "ü", "seed ",
]  # fmt: skip
_FLAGS = [
    ["--quick"], ["--cfg", "job"], ["--cfg", "hydra"], ["--cfg", "all"], ["--cfg", "x"], ["--resolve"], ["-m"],
    ["--multirun"], ["--info"], ["--info", "all"], ["--package", "x"], ["--config-name", "x"], ["--config-path", "/"],
    ["--experimental-rerun", "x"], ["--hydra-help"], ["--nonsense"], ["-c"], ["--config-dir", "/nowhere"],
    ["--config-dir"], ["--version"], ["--run"], ["-sc", "install=bash"],
]  # fmt: skip
_OPTION_FILES = [
    "# @package _global_\nhydra: {callbacks: {x: {_target_: shutil.copyfile, src: /etc/hostname, dst: @OUTSIDE@}}}\n",
    "# @package hydra\ncallbacks: {x: {_target_: shutil.copyfile, src: /etc/hostname, dst: @OUTSIDE@}}\n",
    "# @package hydra.callbacks\nx: {_target_: shutil.copyfile, src: /etc/hostname, dst: @OUTSIDE@}\n",
    "# @package _global_\nhydra: {job_logging: {version: 1, handlers: {x: {class: logging.FileHandler, filename: "
    "@OUTSIDE@}}, root: {handlers: [x]}}}\n",
    "# @package _global_\nhydra: {job: {env_set: {ADABATCH_HOSTILE: '1'}}}\n",
    "# @package _global_\nhydra: {run: {dir: @OUTSIDE@}, output_subdir: x}\n",
    "# @package _global_\nhydra: {launcher: {_target_: os.getcwd}}\n",
    "# @package _global_\nhydra: {searchpath: ['pkg://antigravity']}\n",
    "# @package _global_\nseed: 5\n",
    "# @package _global_\nrun_dir: @OUTSIDE@\n_target_: os.getcwd\n",
    "defaults: [{override /hydra/launcher: basic}]\n",
    "defaults: [{/hydra/callbacks: x}]\n",
    "defaults: [hostile]\n",
    "defaults: ['/network/hostile@_global_']\n",
    "defaults: ['${oc.env:HOME}']\n",
    "defaults: [{/network: '${oc.env:HOME}'}]\n",
    "defaults: 5\n",
    "defaults: [5, null, []]\n",
    "name: ${oc.env:HOME}\n",
    "name: !!python/object/apply:os.system ['touch @OUTSIDE@']\n",
    "name: !!python/name:os.system\n",
    "_target_: os.getcwd\n",
    "name: [tiny_cnn]\n",
    "name: 5\n",
    "name: 0123\n",
    "name: no\n",
    "name: 2024-01-01\n",
    "name: {a: b}\n",
    "a: &a [1]\nb: *a\n",
    "a: &a [*a]\n",
    "name: tiny_cnn\nname: resnet20\n",
    "- 1\n- 2\n",
    "5\n",
    "",
    "null\n",
    "!!set {a}\n",
    "? [a, b]\n: c\n",
    "1: 2\n",
    "{\n",
    "a: b: c\n",
    "\tname: x\n",
    "name: \x00\n",
    "name: 'ü\n",
    "[" * 3000,
    "a: " + "{a: " * 800 + "1" + "}" * 800,
    "name: " + "9" * 5000 + "\n",
    "args: {_target_: os.system}\nname: tiny_cnn\n",
    "path: os:system\nargs: {command: 'touch @OUTSIDE@'}\n",
    "name: tiny_cnn\nhydra: {x: 1}\n",
]
_BYTES = [b"name: \xff\xfe\n", "name: ü\n".encode("latin-1"), "name: tiny_cnn\n".encode("utf-16"), b"\x00" * 100]
_ARMS = {"a": ["schedule=fixed"], "b": ["schedule=adabatch"]}
_SWEEP: dict[str, Any] = {
    "name": "hostile",
    "overrides": list(TINY),
    "grid": {},
    "seeds": [0, 1],
    "baseline": "a",
    "arms": _ARMS,
}


_TINY_OF_ANY_SCHEDULE = [word for word in TINY if not word.startswith("schedule.")]
_RECORDED = Path(__file__).parent / "fixtures" / "v0_1_0"


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    TRACEBACK = "traceback"
    HANG = "hang"
    #: Wrote outside its runs, ran code, changed the environment, or gave a status or text that is not in the contract.
    BROKEN = "broken"


@dataclass(frozen=True)
class Case:
    """One call: a command, its words, and the files that ``--config-dir`` holds, by path."""

    command: str
    words: list[str]
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    outcome: Outcome
    detail: str = ""


class _Hang(BaseException):
    """The time limit of a case; no ``except Exception`` catches it."""


def make_case(seed: int) -> Case:
    """Return the case of a seed; equal seeds give equal cases."""
    chance = random.Random(seed)
    kinds = [_train_case] * 6 + [_option_case] * 4 + [_sweep_case] * 4 + [_plan_case] * 4 + [_tables_case]
    return chance.choice(kinds)(chance)


def _value(chance: random.Random) -> str:
    pool = chance.choice([_NUMBERS, _NUMBERS, _WORDS, _LISTS, _REFERENCES])
    value = chance.choice(pool)
    if chance.random() < 0.1:
        value = chance.choice(["'{}'", '"{}"', "[{}]", "[{},{}]", " {} ", "{{x:{}}}"]).replace("{}", value)
    return value


def _word(chance: random.Random) -> str:
    key = chance.choice(list(KEYS)) if chance.random() < 0.75 else chance.choice(_WORD_KEYS)
    prefix = chance.choice(["+", "++", "~"]) if chance.random() < 0.05 else ""
    if chance.random() < 0.03:
        return chance.choice([key, prefix + key, "=", "=1", "==", "\udcff", " ", key + "@x"])
    declared = str(KEYS[key].declared) if key in KEYS else ""
    fitting = next((values for kind, values in _FITTING.items() if kind in declared), None)
    value = chance.choice(fitting) if fitting and chance.random() < 0.5 else _value(chance)
    return f"{prefix}{key}={value}"


def _words(chance: random.Random) -> list[str]:
    words = list(TINY)
    if chance.random() < 0.2:
        words = [*_TINY_OF_ANY_SCHEDULE, f"schedule={chance.choice(['linear_ramp', 'milestones', 'seesaw'])}"]
    words += [_word(chance) for _ in range(chance.choice([1, 1, 1, 2, 3]))]
    if chance.random() < 0.1:
        words += chance.choice(_FLAGS)
    return words


def _train_case(chance: random.Random) -> Case:
    return Case("train", _words(chance))


def _plan_case(chance: random.Random) -> Case:
    words = ["sweep=hostile", _word(chance)]
    if chance.random() < 0.3:
        words[1] = f"sweep.{chance.choice([*_SWEEP, 'grid.seed', 'grid.num_epochs', 'arms.c'])}={_value(chance)}"
    if chance.random() < 0.3:
        words += chance.choice([["--allow", _value(chance)], ["--quick"], ["--runs-dir", "/dev/null"]])
    return Case("plan", words, {"sweep/hostile.yaml": _yaml(_SWEEP)})


def _option_case(chance: random.Random) -> Case:
    group = chance.choice(["network", "dataset", "schedule", "optimizer", "hardware", "tracker", "checkpoint"])
    if chance.random() < 0.2:
        content = chance.choice(_BYTES)
    elif chance.random() < 0.3:
        keys = [name.partition(".")[2] for name in KEYS if name.startswith(group + ".")]
        lines = [f"{chance.choice(keys)}: {_value(chance)}" for _ in range(2)]
        content = "\n".join([f"defaults: [base_{group}, _self_]", *lines]).encode("utf-8", "surrogateescape")
    else:
        content = chance.choice(_OPTION_FILES).encode()
    files = {f"{group}/hostile.yaml": content}
    command = chance.choice(["train", "train", "plan"])
    if command == "plan":
        files["sweep/hostile.yaml"] = _yaml(_SWEEP)
        return Case("plan", ["sweep=hostile", f"{group}=hostile"], files)
    return Case("train", [*TINY, f"{group}=hostile", *chance.choice([[], ["-m"], ["--cfg", "job"]])], files)


def _sweep_case(chance: random.Random) -> Case:
    if chance.random() < 0.25:
        content = chance.choice([*(text.encode() for text in _OPTION_FILES), *_BYTES])
        return Case("plan", ["sweep=hostile"], {"sweep/hostile.yaml": content})
    sweep: dict[str, Any] = {**_SWEEP, "arms": dict(_ARMS)}
    place = chance.choice([*_SWEEP, "target", "margin", "smallest_effect", "exceptions", "grid", "grid", "arm", "over"])
    text = _value(chance)
    if place == "grid":
        sweep["grid"] = {chance.choice(list(KEYS)): [_plain(text), _plain(_value(chance))][: chance.choice([1, 2])]}
    elif place == "arm":
        sweep["arms"]["a"] = [_word(chance)]
    elif place == "over":
        sweep["overrides"] = [*TINY, _word(chance)]
    else:
        sweep[place] = _plain(text)
    return Case("plan", ["sweep=hostile"], {"sweep/hostile.yaml": _yaml(sweep)})


def _tables_case(chance: random.Random) -> Case:
    options = [["--allow", _value(chance)], ["--margin", _value(chance)], ["--smallest-effect", _value(chance)],
               ["--target", _value(chance)], ["--baseline", _value(chance)]]  # fmt: skip
    return Case("tables", [str(_RECORDED), *chance.choice(options)])


class _Plain(str):
    """Text that stands in YAML as it is."""


def _plain(text: str) -> _Plain:
    return _Plain(text)


def _yaml(values: dict[str, Any]) -> bytes:
    return "".join(f"{key}: {_flow(value)}\n" for key, value in values.items()).encode("utf-8", "surrogateescape")


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return str(value) if isinstance(value, _Plain | int) else repr(value)


def judge(case: Case, folder: Path, seconds: float = _SECONDS) -> Verdict:
    """Run a case in an empty folder and say how it ended."""
    work, options, outside = folder / "work", folder / "options", folder / "outside"
    for path in (work, options, outside):
        path.mkdir()
    canary = str(outside / "canary")
    for name, content in case.files.items():
        path = options / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.replace(_OUTSIDE.encode(), canary.encode()))
    words = [*case.words, *(["--config-dir", str(options)] if case.files else [])]
    before = _listing(folder, work), _environment()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), _in(work), _time_limit(seconds):
        try:
            status = _COMMANDS[case.command](words)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except _Hang:
            return Verdict(Outcome.HANG, f"no end within {seconds} s")
        except Exception:
            return Verdict(Outcome.TRACEBACK, traceback.format_exc())
    said = out.getvalue() + err.getvalue()
    if "Traceback" in said:
        return Verdict(Outcome.TRACEBACK, said)
    if (_listing(folder, work), _environment()) != before:
        return Verdict(Outcome.BROKEN, "it changed files outside its folder, or the environment")
    found_errors = case.command == "tables" or "  error " in said  # refused pairs, or what lint found
    if status not in (0, 2) and not (status == 1 and found_errors):
        return Verdict(Outcome.BROKEN, f"status {status}: {said}")
    if status == 2 and not re.search(r"\w.*[.)?]?\s*$", err.getvalue().strip()[-2000:]):
        return Verdict(Outcome.BROKEN, "status 2 without a sentence")
    broken = _unreadable_config(work)
    if broken:
        return Verdict(Outcome.BROKEN, broken)
    return Verdict(Outcome.REFUSED if status else Outcome.ACCEPTED, said)


def _environment() -> dict[str, str]:
    """Return the environment without what torch sets when a plug-in is imported from it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("TORCH", "KMP_"))}


def _unreadable_config(work: Path) -> str | None:
    """Return why a config that was written does not load again."""
    for path in work.rglob("config.yaml"):
        try:
            load_config(path)
        except Exception as error:
            return f"{path} does not load: {error!r}"
    return None


def _listing(folder: Path, without: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if without not in (path, *path.parents))


@contextlib.contextmanager
def _in(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(adabatch.run, "_execute", lambda *_: 0)
        patch.setattr(adabatch.run, "run_local_ranks", lambda *_: 0)
        GlobalHydra.instance().clear()
        # What the command sets for Hydra alone.
        patch.setenv("HYDRA_FULL_ERROR", "1")
        yield


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise _Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _train(words: list[str]) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["adabatch", *words])
        return adabatch.command.main()


def _plan(words: list[str]) -> int:
    return launch.cli.main(["plan", *words])


def _tables(words: list[str]) -> int:
    return analysis.cli.main(["tables", *words])


_COMMANDS: dict[str, Callable[[list[str]], int]] = {"train": _train, "plan": _plan, "tables": _tables}
