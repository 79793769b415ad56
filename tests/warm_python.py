"""A ``python`` and an ``adabatch`` that start in a tenth of the time: a process that has imported torch forks for each.

Importing torch and its optimizers takes three seconds, and tests call hundreds of commands. What is tested stays the
command: its words, folder, environment, output, exit status, and the processes that it starts with ``sys.executable``.
Tests of starting itself (an installed wheel, import paths, signals) use a real Python.
"""

from __future__ import annotations

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from adabatch.files import SOURCE_DIR
from tests.support import wait_until

#: Only modules are shared: none of them starts a thread or reads the environment that a command would change.
_IMPORTED = (
    "torch", "torch._dynamo", "torchvision.transforms.v2", "numpy", "pandas", "scipy.stats", "hydra", "submitit",
    "adabatch.command", "adabatch.training.worker", "adabatch.training.own_code", "adabatch.data.resident",
    "adabatch.data.digits", "adabatch.data.synthetic", "adabatch.data.by_path", "adabatch.networks.tiny_cnn",
    "launch.cli", "launch.job", "analysis.cli",
)  # fmt: skip
#: Takes the place of ``python`` and of ``adabatch``: hands its words, folder, environment and streams to the server,
#: and ends as the command does. Calls of Python for something else than a module go to the real one, as do the
#: process by whose number submitit knows a job, and those that are to import another copy of adabatch.
_CLIENT = """#!{python} -SI
import json, os, socket, sys
name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
flags = []
while name == "python" and words[:1] in (["-P"], ["-u"]):
    flags.append(words.pop(0))
first = os.environ.get("PYTHONPATH", "").split(os.pathsep)[0]
is_copy = os.path.isdir(os.path.join(first, "adabatch")) and os.path.realpath(first) != {source!r}
if name == "python" and (words[:1] != ["-m"] or words[1:2] == ["submitit.local._local"] or is_copy):
    os.execv({python!r}, [{python!r}, *flags, *words])
request = dict(name=sys.argv[0], words=words, cwd=os.getcwd(), environment=dict(os.environ), is_safe="-P" in flags)
content = json.dumps(request).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({socket!r})
    socket.send_fds(server, [len(content).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(content)
    answer = server.recv(8)
status = int(answer) if answer else 1
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


@functools.cache
def warm_folder() -> Path:
    """Start the server of this process, and return the folder with ``python`` and ``adabatch``."""
    folder = tempfile.TemporaryDirectory(prefix="adabatch-warm-")
    place = Path(folder.name)
    path = str(place / "socket")
    for name in ("python", "adabatch"):
        (place / name).write_text(_CLIENT.format(python=sys.executable, socket=path, source=str(SOURCE_DIR)))
        (place / name).chmod(0o755)
    # It ends when the pipe is closed, however this process ends.
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.warm_python", path],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
    )
    atexit.register(_stop, server, folder)
    wait_until(lambda: Path(path).exists() or server.poll() is not None)
    assert server.poll() is None
    return place


def warm_python() -> str:
    """Return the command that stands for ``sys.executable``."""
    return str(warm_folder() / "python")


def _stop(server: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    server.communicate()
    folder.cleanup()


def _serve(path: str) -> dict[str, Any]:
    """Fork for each request; return it in the process that is to become the command."""
    gc.freeze()  # the collector of a forked process would otherwise copy every page
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.new")
    listener.listen(64)
    os.rename(f"{path}.new", path)
    running = 0
    while True:
        while running and os.waitpid(-1, os.WNOHANG)[0]:
            running -= 1
        sources: list[Any] = [listener, 0]
        ready, _, _ = select.select(sources, [], [])
        if 0 in ready:
            os._exit(0)
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            return _start(connection)
        connection.close()
        running += 1


def _start(connection: socket.socket) -> dict[str, Any]:
    """Start the command in a process of its own, which returns the request; this one tells the client how it ended."""
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as file:
        request: dict[str, Any] = json.loads(file.read(int.from_bytes(size, "big")))
    command = os.fork()
    if command == 0:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        connection.close()
        return request
    for stream in (*streams, 0, 1, 2):
        os.close(stream)
    ended = os.pidfd_open(command)
    sources: list[Any] = [ended, connection]
    ready, _, _ = select.select(sources, [], [])
    if ended not in ready:  # the client was killed
        os.kill(command, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    if ended in ready:
        connection.sendall(str(status).encode())
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Run the command that was asked for, as Python does after its start."""
    own = [os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    installed = [folder for folder in sys.path[1:] if folder not in own]
    # The streams of the server knew other files.
    sys.stdin, sys.stdout, sys.stderr = (
        open(number, mode, closefd=False)  # noqa: SIM115
        for number, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    given = [os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    name, words = request["name"], request["words"]
    is_module = words[:1] == ["-m"] and Path(name).name == "python"
    first = [] if request["is_safe"] else [request["cwd"] if is_module else str(Path(name).parent)]
    sys.path[:] = [*first, *given, *installed]
    sys.executable = str(Path(name).parent / "python")
    importlib.invalidate_caches()
    if is_module:
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        from adabatch.cli import main

        sys.argv = [name, *words]
        sys.exit(main())


if __name__ == "__main__":
    for _name in _IMPORTED:
        importlib.import_module(_name)
    _become(_serve(sys.argv[1]))
