"""The completion of lines, in the real shells."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from adabatch.shell.arguments import SHELLS

pytestmark = pytest.mark.slow
#: Typed at a prompt in a folder with the sweep ``runs/mine``, and what Tab makes of it.
LINES = {
    "adabatch subm": "adabatch submit ",
    "adabatch submit sweep=dem": "adabatch submit sweep=demo ",
    "adabatch train dataset=fashion": "adabatch train dataset=fashion_mnist ",
    "adabatch train schedule=mile": "adabatch train schedule=milestones ",
    "adabatch train --config-dir my network=own_w": "adabatch train --config-dir my network=own_wide ",
    "adabatch train hardware.prec": "adabatch train hardware.precision=",
    "adabatch status ru": "adabatch status runs/",
    "adabatch status runs/mine --arm grow": "adabatch status runs/mine --arm growing ",
    "adabatch status runs/mine --state failed,tim": "adabatch status runs/mine --state failed,timeout ",
    "adabatch tables runs/mine --format mark": "adabatch tables runs/mine --format markdown ",
    "adabatch completion zs": "adabatch completion zsh ",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the command, a sweep of two arms, and an own option."""
    folder = tmp_path_factory.mktemp("place")
    for arm in ("fixed", "growing"):
        (folder / "runs" / "mine" / "digits-tiny_cnn" / f"{arm},optimizer.momentum=0.9" / "seed_0").mkdir(parents=True)
    (folder / "my" / "network").mkdir(parents=True)
    (folder / "my" / "network" / "own_wide.yaml").write_text("defaults: [tiny_cnn]\n")
    command = folder / "bin" / "adabatch"
    command.parent.mkdir()
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom adabatch.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    source = Path(__file__).parents[1]
    paths = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
    known = {key: value for key, value in os.environ.items() if key != "_ARGCOMPLETE"}
    return {**known, "PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": paths, "HOME": str(place)}


def need(shell: str) -> str:
    """Return the path of a shell; CI has all."""
    found = shutil.which(shell)
    if found is None:
        if "CI" in os.environ:
            pytest.fail(f"{shell} is not installed")
        pytest.skip(f"{shell} is not installed")
    return found


@pytest.fixture(scope="module")
def scripts(place: Path, environment: dict[str, str]) -> dict[str, Path]:
    """What each shell reads."""
    paths = {shell: place / f"complete.{shell}" for shell in SHELLS}
    for shell, path in paths.items():
        command = ["adabatch", "completion", shell]
        path.write_text(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    return paths


class Terminal:
    """An interactive shell, to which keys are typed."""

    def __init__(self, command: list[str], place: Path, environment: Mapping[str, str]) -> None:
        self._pid, self._file = pty.fork()
        if self._pid == 0:
            os.chdir(place)
            os.execve(command[0], command, {**environment, "TERM": "dumb", "COLUMNS": "200"})

    def type(self, keys: str) -> None:
        os.write(self._file, keys.encode())

    def wait_for(self, text: str, seconds: float = 60.0) -> bool:
        """Read until some text was printed."""
        printed, end = "", time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self._file], [], [], 0.2)[0]:
                printed += os.read(self._file, 65536).decode(errors="replace")
                if text in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x08|\r", "", printed):
                    return True
        print(repr(printed))
        return False

    def close(self) -> None:
        self.type("\x15exit\n")
        os.close(self._file)
        os.waitpid(self._pid, 0)


def bash_completion(line: str, script: Path, place: Path, environment: Mapping[str, str]) -> list[str]:
    """Return what the functions that bash has read would offer."""
    asked = f"""
        source {script}
        COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_TYPE=9; COMP_WORDBREAKS=$' \\t\\n"'"'"'><=;|&(:'
        IFS=' ' read -ra COMP_WORDS <<< "$COMP_LINE"
        "$(complete -p adabatch | sed 's/.*-F \\([^ ]*\\).*/\\1/')" adabatch
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        [need("bash"), "--norc", "-c", asked], cwd=place, env=environment, capture_output=True, text=True
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(("line", "expected"), LINES.items())
def test_bash_completes(
    line: str, expected: str, scripts: dict[str, Path], place: Path, environment: dict[str, str]
) -> None:
    offered = bash_completion(line, scripts["bash"], place, environment)
    # bash replaces what follows the last mark at which it breaks words
    typed = re.split(r"[ =:]", line)[-1]
    assert [line.removesuffix(typed) + one for one in offered] == [expected]


@pytest.mark.parametrize(("line", "expected"), LINES.items())
def test_fish_completes(
    line: str, expected: str, scripts: dict[str, Path], place: Path, environment: dict[str, str]
) -> None:
    asked = f"source {scripts['fish']}; complete --do-complete '{line}'"
    done = subprocess.run(
        [need("fish"), "--no-config", "-c", asked], cwd=place, env=environment, capture_output=True, text=True
    )
    offered = [row.partition("\t")[0] for row in done.stdout.splitlines()]
    assert [f"{line.rpartition(' ')[0]} {one}" for one in offered] == [expected.strip()]


def test_zsh_completes_as_somebody_types(scripts: dict[str, Path], place: Path, environment: dict[str, str]) -> None:
    terminal = Terminal([need("zsh"), "-f", "-i"], place, environment)
    try:
        # ^X^W shows the line that Tab has made
        terminal.type("show() { print -r -- \"[$BUFFER]\" }; zle -N show; bindkey '^X^W' show\n")
        terminal.type(f"autoload -U compinit; compinit -u; source {scripts['zsh']}; PS1='at_''prompt '\n")
        assert terminal.wait_for("at_prompt")
        for line, expected in LINES.items():
            terminal.type(f"\x15{line}\t\x18\x17")
            assert terminal.wait_for(f"[{expected}]"), line
    finally:
        terminal.close()


def test_bash_completes_as_somebody_types(scripts: dict[str, Path], place: Path, environment: dict[str, str]) -> None:
    terminal = Terminal([need("bash"), "--norc", "--noprofile", "-i"], place, environment)
    try:
        terminal.type('bind -x \'"\\C-x\\C-w": echo "[$READLINE_LINE]"\'\n')
        terminal.type(f"source {scripts['bash']}; PS1='at_''prompt '\n")
        assert terminal.wait_for("at_prompt")
        terminal.type("adabatch submit sweep=dem\t\x18\x17")
        assert terminal.wait_for("[adabatch submit sweep=demo ]")
    finally:
        terminal.close()


def test_a_line_is_completed_without_torch_and_at_once(place: Path, environment: dict[str, str]) -> None:
    heavy = ("torch", "pandas", "hydra", "submitit", "rich", "numpy")
    code = (
        "import os, sys, time; start = time.process_time(); real = os._exit\n"
        "os._exit = lambda status: (print([one for one in sys.argv[1:] if one in sys.modules], "
        "round(time.process_time() - start, 2)), sys.stdout.flush(), real(status))\n"
        "from adabatch.cli import main; main()"
    )
    answers = environment | {"_ARGCOMPLETE": "1", "COMP_LINE": "adabatch submit sweep=", "COMP_POINT": "22"}
    answers |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(place / "answer")}
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy], cwd=place, env=answers, capture_output=True, text=True, check=True
    )
    modules, seconds = done.stdout.rsplit(maxsplit=1)
    assert modules == "[]", done.stderr
    assert float(seconds) < 0.5
    assert "demo" in (place / "answer").read_text()
