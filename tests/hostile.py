"""Folders of runs as a stranger, a full disk or a flipped bit leaves them, and the contract of whoever reads them.

A sound sweep stands beside one run that was spoiled in one to three ways, all drawn from a seed. `check` calls a
command on it and returns what broke the contract: a sentence and an exit status within the time limit, nothing outside
of the folder touched or shown, no control character printed, every sound run still there.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

FIXTURES = Path(__file__).parent / "fixtures" / "v0_1_0"
#: Stands in a file outside of the folder; nothing may show it.
SECRET = "root-of-all-evil:x:0:0"
RUN_FILES = (
    "config.yaml", "meta.json", "epochs.csv", "summary.json", "progress.json", "attempts.jsonl", "checkpoint.pt",
    "log.txt", "DONE", "FAILED", "test_correct.npy", ".lock",
)  # fmt: skip
SWEEP_FILES = ("submissions.jsonl", "registrations.jsonl", "lock", "logs")
NASTY_TEXTS = (
    "\x1b]0;title\x07\x1b[2J", "[/nope]", "[red]x", "=1+1", "@SUM(A1)", "-2+3", "<script>alert(1)</script>",
    "a\nb\r\tc", "\u202egnp.exe", "../../../../etc/passwd", "--help", "x" * 5000, "", "\x9b2J", "{}",
    "%s %n", "\u2028", "é" * 300,
)  # fmt: skip
NASTY_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 1e308, float("nan"), float("inf"), 10**30, -(10**400), [], {}, [[1]], {"a": {"b": [None]}},
    ["x"], [None, 1], {"": []}, "\ud800", *NASTY_TEXTS,
)  # fmt: skip
NASTY_NAMES = (
    "[/nope]", "\x1b[2J", "=cmd", "-o", "a\nb", "<b>x", "\udcff\udcfe", "%s", "x" * 250, " ", "seed_1\u202e", "a'b\"c",
    "~",
)  # fmt: skip


class TookTooLong(BaseException):
    """The alarm; nothing that catches Exception catches it."""


@dataclass
class Folder:
    """A sweep with a spoiled run.

    Attributes:
        root: holds ``sweep`` and ``outside``.
        sound: the paths of the runs that were left alone, below the sweep.
        how: what was done to the other one.
    """

    root: Path
    sound: list[str] = field(default_factory=list)
    how: list[str] = field(default_factory=list)

    @property
    def sweep(self) -> Path:
        return self.root / "sweep"

    @property
    def outside(self) -> Path:
        return self.root / "outside"


def make_folder(root: Path, seed: int) -> Folder:
    """Make the folder of a seed."""
    rng, folder = random.Random(seed), Folder(root)
    folder.outside.mkdir(parents=True)
    (folder.outside / "secret").write_text(f"{SECRET}\n" * 3)
    (folder.outside / "elsewhere").mkdir()
    shutil.copytree(FIXTURES / "sweep", folder.sweep, ignore=shutil.ignore_patterns("seed_1"))
    folder.sound = sorted(path.parent.relative_to(folder.sweep).as_posix() for path in folder.sweep.rglob("DONE"))
    run = folder.sweep / "synthetic-tiny_cnn" / "adaptive" / "seed_7"
    shutil.copytree(FIXTURES / rng.choice(("stopped", "sweep/synthetic-tiny_cnn/adaptive/seed_0")), run)
    if rng.random() < 0.5:
        (run / "DONE").unlink(missing_ok=True)
    for _ in range(rng.randint(1, 3)):
        kind = rng.random()
        if kind < 0.75:
            _spoil_file(rng, run / rng.choice(RUN_FILES), folder)
        elif kind < 0.88:
            _spoil_file(rng, folder.sweep / ".launch" / rng.choice(SWEEP_FILES), folder)
        else:
            run = _spoil_tree(rng, run, folder)
    return folder


def _spoil_file(rng: random.Random, path: Path, folder: Folder) -> None:
    kind = rng.choice([*_FILE_KINDS, *[_wrong_values] * 6])
    folder.how.append(f"{path.name}: {kind.__name__.strip('_')}")
    if not path.parent.is_dir():
        return
    before = path.read_bytes() if path.is_file() and path.stat().st_size < 1 << 22 else b""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    kind(rng, path, before, folder)


def _fifo(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    os.mkfifo(path)


def _directory(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    path.mkdir()
    if rng.random() < 0.5:
        (path / "file").write_text("x")


def _link(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    targets = (folder.outside / "secret", "/dev/zero", "/dev/full", "/nowhere", path.name, folder.outside, "/dev/stdin")
    path.symlink_to(rng.choice(targets))


def _socket(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _empty(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    path.write_bytes(b"")


def _noise(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    path.write_bytes(rng.randbytes(rng.choice((1, 100, 100_000))))


def _cut(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    path.write_bytes(before[: rng.randint(0, len(before))])


def _flipped(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    content = bytearray(before or b"x")
    for _ in range(rng.choice((1, 1, 3, 30))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def _endless(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    path.write_bytes(before)
    os.truncate(path, 5 << 30)  # sparse: takes no space


def _deep(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    depth = rng.choice((900, 5000, 200_000))
    mark = rng.choice(('{"a":', "[", "a: {b: ", "- "))
    path.write_text(mark * depth + ("" if mark == "- " else "1" + ("]" if mark == "[" else "}") * depth))


def _aliases(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    path.write_bytes(before + b"\n" + "\n".join(levels).encode())
    if before.startswith(b"{"):
        path.write_text("schedule:\n  " + "\n  ".join(levels))


def _digits(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    number = "9" * rng.choice((20, 400, 5000))
    text = before.decode("latin-1")
    path.write_text("".join(number if c.isdigit() and rng.random() < 0.02 else c for c in text) or number)


def _encoding(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    text = before.decode("latin-1")
    ways = (lambda: text.encode("utf-16"), lambda: before + "né".encode("latin-1"), lambda: b"\xef\xbb\xbf" + before,
            lambda: before.replace(b"\n", b"\0"), lambda: before.replace(b"\n", b"\r\n"))  # fmt: skip
    path.write_bytes(rng.choice(ways)())


def _many_lines(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    line = before.splitlines()[-1] if before else b'{"event": "start"}'
    path.write_bytes(before + (line + b"\n") * 20_000)


def _nasty_text(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    path.write_bytes((rng.choice(NASTY_TEXTS) + "\n").encode() + (before if rng.random() < 0.5 else b""))


def _foreign_process(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    """Name this very process as that of a job or queue, as far as somebody elsewhere could know it."""
    named = {"host": socket.gethostname(), "pid": rng.choice((os.getpid(), 1, -1, 0)), "job_id": None}
    if rng.random() < 0.3:
        named["pid_start"] = rng.choice(("", "1", None))
    events = ({"event": "start", "time": 1e10}, {"event": "local", "runs": ["x"], "logs": "a", "time": 1e10})
    path.write_text("".join(json.dumps({**event, **named}) + "\n" for event in events))


def _wrong_values(rng: random.Random, path: Path, before: bytes, folder: Folder) -> None:
    """Put values of other kinds where JSON, YAML or CSV has its own."""
    if path.suffix == ".json":
        try:
            content = json.loads(before)
        except ValueError:
            content = {}
        for _ in range(rng.choice((1, 1, 4))):
            content = _with_wrong_value(rng, content)
        path.write_text(json.dumps(content))
    elif path.suffix == ".jsonl":
        path.write_text("".join(_wrong_record(rng) + "\n" for _ in range(rng.choice((1, 3, 10)))))
    else:
        lines = before.decode("utf-8", "replace").splitlines() or [""]
        place = rng.randrange(len(lines))
        value = str(rng.choice(NASTY_VALUES))[:6000]
        if path.suffix == ".csv":
            cells = lines[place].split(",")
            cells[rng.randrange(len(cells))] = value
            lines[place] = ",".join(cells)
        else:
            lines[place] = f"{lines[place].partition(':')[0]}: {value}"
        path.write_text("\n".join(lines) + "\n", errors="surrogateescape" if "\ud800" not in value else "replace")


def _with_wrong_value(rng: random.Random, content: Any) -> Any:
    if isinstance(content, dict) and content and rng.random() < 0.9:
        key = rng.choice(list(content))
        return {**content, key: _with_wrong_value(rng, content[key])}
    if isinstance(content, list) and content and rng.random() < 0.7:
        place = rng.randrange(len(content))
        return [*content[:place], _with_wrong_value(rng, content[place]), *content[place + 1 :]]
    return rng.choice(NASTY_VALUES)


def _wrong_record(rng: random.Random) -> str:
    events = ("start", "end", "intent", "accepted", "refused", "local", "local_end", 5)
    whole = {
        "event": rng.choice(events), "time": 1.8e9, "token": "t", "job_name": "j", "groups": [["a"]], "logs": "l",
        "jobs": {"12": ["synthetic-tiny_cnn/adaptive/seed_7"]}, "runs": ["synthetic-tiny_cnn/adaptive/seed_7"],
        "host": socket.gethostname(), "pid": 999_999, "pid_start": "1", "job_id": "12", "log_id": "12",
        "exit_status": 1, "stopped_by": None, "gave_up": False, "digest": "d", "content": {}, "num_done": 0,
    }  # fmt: skip
    for _ in range(rng.choice((1, 2))):
        whole = _with_wrong_value(rng, whole)
    return json.dumps(whole)


_FILE_KINDS: list[Callable[[random.Random, Path, bytes, Folder], None]] = [
    _fifo, _directory, _link, _link, _socket, _empty, _noise, _cut, _flipped, _endless, _deep, _aliases, _digits,
    _encoding, _many_lines, _nasty_text, _nasty_text, _foreign_process,
]  # fmt: skip


def _spoil_tree(rng: random.Random, run: Path, folder: Folder) -> Path:
    """Rename the run, or add links and folders around it; return the run's path."""
    way = rng.choice(("name", "name", "cycle", "root", "twice", "nested", "file", "gone"))
    folder.how.append(f"tree: {way}")
    if way == "name" and run.exists():
        return run.rename(run.with_name(rng.choice(NASTY_NAMES).replace("/", "_")))
    beside = run.parent / f"{way}_{rng.randrange(10**6)}"
    if way == "cycle":
        beside.symlink_to(rng.choice((folder.sweep, run.parent, "..", ".")))
    elif way == "root":
        beside.symlink_to(rng.choice(("/", "/proc", "/dev")))
    elif way == "twice":
        beside.symlink_to(run)
    elif way == "nested":
        _nest(beside, rng.choice((50, 1500)))
    elif way == "file":
        beside.write_text("x")
    else:
        beside.symlink_to("/nowhere/at/all")
    return run


def _nest(path: Path, depth: int) -> None:
    """Make so many folders within each other, deeper than a path may be long."""
    path.mkdir()
    descriptor = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


def remove(folder: Folder) -> None:
    """Remove a folder, however deep it is."""
    os.system(f"rm -rf {folder.root}")  # shutil.rmtree may recurse too deeply


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes:
        kind: ``accepted``, ``refused`` (with a sentence), or how the contract was broken.
    """

    kind: str
    detail: str = ""

    @property
    def is_sound(self) -> bool:
        return self.kind in ("accepted", "refused")


#: A command: called on the sweep, it prints and returns the exit status.
Command = Callable[[Path], int]


def check(folder: Folder, command: Command, shows_runs: bool, seconds: int, encoding: str = "utf-8") -> Outcome:
    """Call a command on a folder; return how it kept, or broke, the contract.

    Args:
        shows_runs: whether it must name every sound run.
    """
    before = _listing(folder.outside)
    kills: list[tuple[int, int]] = []
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2))
    try:
        with (
            _watched(seconds),
            _recorded_kills(kills),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            status = command(folder.sweep)
    except TookTooLong:
        return Outcome("hang")
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        return Outcome("traceback", f"{type(error).__name__}: {str(error)[:300]}")
    texts = [stream.buffer.getvalue().decode(encoding, "replace") for stream in (out, err)]
    return Outcome(*_judged(folder, status, texts, shows_runs, before, kills))


def check_apart(folder: Folder, name: str, seconds: int, encoding: str = "utf-8") -> Outcome:
    """Call one of `COMMANDS` on a folder in a process of its own, which ends whatever it does; see `check`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_RDWR), 2)
        outcome = check(folder, *COMMANDS[name], seconds, encoding)
        os.write(writing, json.dumps([outcome.kind, outcome.detail[:500]]).encode())
        os._exit(0)
    os.close(writing)
    deadline = time.monotonic() + seconds + 10
    while not (ended := os.waitpid(pid, os.WNOHANG)[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    if not ended:  # what hangs in C hears no alarm
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with os.fdopen(reading) as stream:
        answer = stream.read()
    return Outcome(*json.loads(answer)) if answer else Outcome("crash" if ended else "hang")


def commands_of(seed: int) -> list[str]:
    """Return the commands that are tried on the folder of a seed: all of them on every six folders."""
    in_turn = ("status", "tables", "tables csv", "report", "tables markdown", "tables latex")
    return [in_turn[seed % 6], "status json", "wait", "tables json", "dashboard", "cancel"]


def _judged(
    folder: Folder, status: int, texts: list[str], shows_runs: bool, before: dict[str, Any], kills: list[Any]
) -> tuple[str, str]:
    out, err = texts
    both = out + err
    if "Traceback (most recent call last)" in both:
        return "traceback", err[-300:]
    if kills:
        return "signalled", str(kills)
    if _listing(folder.outside) != before:
        return "touched", "what lies outside was changed"
    if SECRET in both:
        return "leaked", "what lies outside was shown"
    if any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c in "\u202e\u2028" for c in both):
        return "escape", ascii(both)[:300]
    if status not in (0, 1, 2, 3):
        return "status", str(status)
    if status == 2 and not err.strip():
        return "silent", ""
    missing = [run for run in folder.sound if run not in out] if shows_runs else []
    if missing:
        return "lost", f"{missing}: {err[-200:]}"
    return ("refused" if status == 2 else "accepted"), err.strip()[:200]


def _listing(folder: Path) -> dict[str, Any]:
    return {
        str(path): (path.lstat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted([folder, *folder.rglob("*")])
    }


@contextlib.contextmanager
def _watched(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> NoReturn:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _recorded_kills(kills: list[tuple[int, int]]) -> Iterator[None]:
    kill = os.kill

    def record(pid: int, number: int) -> None:
        if number:
            kills.append((pid, number))
        else:
            kill(pid, number)

    os.kill = record
    try:
        yield
    finally:
        os.kill = kill


def _launch(*words: str) -> Command:
    from launch.cli import main

    return lambda sweep: main([words[0], str(sweep), *words[1:]])


def _analysis(*words: str) -> Command:
    from analysis.cli import main

    return lambda sweep: main([words[0], str(sweep), *words[1:]])


def _report(sweep: Path) -> int:
    page = sweep.parent / "report.html"
    status = _analysis("report", "-o", str(page))(sweep)
    if page.exists():
        # Long names may go on in the next line there, which readers do not see as a change of the name.
        sys.stdout.write(page.read_text(encoding="utf-8").replace("<wbr>", ""))
        page.unlink()
    return status


def _dashboard(sweep: Path) -> int:
    """Look at the folder as the dashboard does, and at every run in it."""
    from analysis.dashboard_view import Choice, view
    from analysis.live import Watcher, run_name

    snapshot = Watcher(sweep).look()
    if snapshot.data is None or snapshot.problem:
        raise AssertionError(f"the dashboard shows no run: {snapshot.problem}")
    names = [run_name(sweep, run) for run in snapshot.data.runs.index]
    for name in [None, *names]:
        parts, _ = view(snapshot, Choice({}, None, name), {})
        assert not parts["problem"], parts["problem"]
    print("\n".join(name for name in names if name.isprintable()))
    return 0


#: By name: the command, and whether it names every run.
COMMANDS: dict[str, tuple[Command, bool]] = {
    "status": (lambda sweep: _launch("status")(sweep), True),
    "status json": (lambda sweep: _launch("status", "--format", "json")(sweep), True),
    "wait": (lambda sweep: _launch("wait", "--timeout", "0")(sweep), False),
    "cancel": (lambda sweep: _launch("cancel")(sweep), False),
    "tables": (lambda sweep: _analysis("tables")(sweep), False),
    "tables json": (lambda sweep: _analysis("tables", "--format", "json")(sweep), True),
    "tables csv": (lambda sweep: _analysis("tables", "--format", "csv")(sweep), False),
    "tables markdown": (lambda sweep: _analysis("tables", "--format", "markdown")(sweep), False),
    "tables latex": (lambda sweep: _analysis("tables", "--format", "latex")(sweep), False),
    "report": (_report, True),
    "dashboard": (_dashboard, True),
}
