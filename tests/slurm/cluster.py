"""A real SLURM cluster on one machine, for tests: as root, without systemd, cgroups or containers.

    python tests/slurm/cluster.py start FOLDER      # then: export SLURM_CONF=FOLDER/etc/slurm.conf
    python tests/slurm/cluster.py stop FOLDER

Two nodes with fake GPUs, accounting in a private MariaDB, everything below FOLDER.
Every daemon is recorded by process id and start time, and carries a variable in its environment by which what it
left behind is found; nothing else is ever signalled. Works with SLURM 22.05 and newer, as Debian and Ubuntu package
it: slurmctld slurmd slurm-client munge slurmdbd mariadb-server.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PACKAGES = "slurmctld slurmd slurm-client munge slurmdbd mariadb-server"
_PROGRAMS = (
    "munged",
    "mariadbd",
    "mariadb-install-db",
    "slurmdbd",
    "slurmctld",
    "slurmd",
    "sbatch",
    "sacct",
    "sacctmgr",
)
_NODES = ("n1", "n2")
_GPUS_PER_NODE = 4
_MARK = "ADABATCH_TEST_CLUSTER"
_START_SECONDS = 60.0
_TEMPLATE = Path(__file__).with_name("slurm.conf.template")


def missing_requirement() -> str | None:
    """Return why no cluster can be started here; None if one can."""
    absent = [name for name in _PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"{', '.join(absent)} missing; run: apt-get install -y --no-install-recommends {PACKAGES}"
    if os.geteuid() != 0:
        return "SLURM's daemons need root; run the tests as root, or in CI"
    return None


def clean_environment() -> dict[str, str]:
    """Return this environment without the variables of another SLURM."""
    prefixes = ("SLURM_", "SBATCH_", "SRUN_", "SQUEUE_", "SACCT_", "SUBMITIT_")
    return {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}


class Cluster:
    """A cluster whose configuration, state and logs lie below one folder.

    Args:
        folder: at most 80 characters, for the sockets in it.
        max_array_size: small, so that tests meet the limit.
    """

    def __init__(self, folder: Path, max_array_size: int = 6) -> None:
        self.folder = folder.resolve()
        self._max_array_size = max_array_size
        self._processes: list[subprocess.Popen[bytes]] = []
        self.config = self.folder / "etc" / "slurm.conf"
        self.environment = {**clean_environment(), "SLURM_CONF": str(self.config)}

    def start(self) -> None:
        """Bring all daemons up and wait until both nodes are idle.

        Raises:
            RuntimeError: if a daemon dies or is not ready in time; its log's end is in the message.
        """
        if len(str(self.folder)) > 80:
            raise RuntimeError(f"{self.folder} is too long a name for sockets")
        self.stop()
        for name in ("etc", "run", "log", "state", "dev", *(f"spool/{node}" for node in _NODES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for part in (self.folder, *self.folder.iterdir()):
            part.chmod(0o755)
        with _starting_alone():
            self._write_configuration()
            self._start_munge()
            self._start_accounting()
            self._start("slurmctld", ["slurmctld", "-D", "-f", str(self.config)])
            self._wait_for("slurmctld", lambda: self._succeeds("scontrol", "ping"))
            for node in _NODES:
                self.start_node(node)
            self._wait_for("slurmctld", self._nodes_idle)

    def stop(self) -> None:
        """End every job and daemon and check that none is left.

        Raises:
            RuntimeError: if a process of the cluster survives.
        """
        if self._alive("slurmctld"):
            # Two calls: the first lets go of waiting jobs, the second does not ask running ones.
            self._quietly("scancel", "--user=root")
            self._quietly("scancel", "--user=root", "--signal=KILL", "--full")
            _until(lambda: not self._strays(jobs_only=True), 5)
        for name in (*(f"slurmd-{node}" for node in _NODES), "slurmctld", "slurmdbd", "mariadbd", "munged"):
            self._end(name)
        for pid in self._strays():
            _kill(pid, signal.SIGKILL)
        for process in self._processes:
            process.wait(timeout=10)
        self._processes.clear()
        if not _until(lambda: not self._strays(), 10):
            raise RuntimeError(f"processes of the test cluster are left: {self._strays()}")

    def run(self, *command: str) -> str:
        """Run one of SLURM's programs against this cluster and return what it printed."""
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=True)
        return answer.stdout

    def start_node(self, node: str) -> None:
        """Start a node's daemon, under a host name of its own that resolves within its jobs only."""
        script = 'hostname "$1" && mount --bind "$2" /etc/hosts && shift 2 && exec "$@"'
        hosts = str(self.folder / "etc" / "hosts")
        own_name = ["unshare", "--mount", "--uts", "--propagation", "slave", "bash", "-c", script, "-", node, hosts]
        self._start(f"slurmd-{node}", [*own_name, "slurmd", "-D", "-N", node, "-f", str(self.config)])

    def cancel_all(self) -> None:
        """Cancel every job and wait until the queue is empty."""
        if self.run("squeue", "--noheader"):
            self.run("scancel", "--user=root")
            if not _until(lambda: not self.run("squeue", "--noheader"), _START_SECONDS):
                raise RuntimeError("a job of the test cluster cannot be cancelled")

    def limit_jobs(self, count: int | None) -> None:
        """Let this user have at most so many jobs queued or running; None: any number."""
        self.run("sacctmgr", "-i", "modify", "user", "root", "set", f"MaxSubmitJobs={-1 if count is None else count}")

    def shown(self, job: str) -> dict[str, str]:
        """Return what ``scontrol show job`` says about the waiting part of a job."""
        lines = self.run("scontrol", "--oneliner", "show", "job", job).splitlines()
        waiting = next(line for line in lines if "JobState=PENDING" in line)
        return dict(word.split("=", 1) for word in waiting.split() if "=" in word)

    def heal(self) -> None:
        """Take nodes that are down or drained back into service and wait until they are idle."""
        if not _until(self._nodes_idle, _START_SECONDS):
            raise RuntimeError("a node of the test cluster stays down")

    # -- configuration

    def _write_configuration(self) -> None:
        etc = self.folder / "etc"
        ports = _free_ports(2 + len(_NODES))
        values = {
            "folder": str(self.folder),
            "host": socket.gethostname().split(".")[0],
            "controller_port": ports[0],
            "accounting_port": ports[1],
            "max_array_size": self._max_array_size,
            "communication": _communication("NoCtldInAddrAny,NoInAddrAny"),
            # Ids that begin at 1 in every new cluster would meet the files of older jobs.
            "first_job_id": int(time.time()) % 60_000_000 + 1000,
            "nodes": "\n".join(
                f"NodeName={node} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=64000 Gres=gpu:a100:{_GPUS_PER_NODE}"
                for node, port in zip(_NODES, ports[2:], strict=True)
            ),
        }
        self.config.write_text(string.Template(_TEMPLATE.read_text()).substitute(values))
        (etc / "gres.conf").write_text("".join(map(self._gpu_line, _NODES)))
        (etc / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        names = f"127.0.0.1 {' '.join(_NODES)}\n"
        (etc / "hosts").write_text(Path("/etc/hosts").read_text() + names)
        key = etc / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        accounting = etc / "slurmdbd.conf"
        accounting.write_text(
            f"AuthType=auth/munge\nAuthInfo=socket={self.folder}/run/munge.sock\nDbdHost=localhost\nDbdAddr=127.0.0.1\n"
            f"DbdPort={ports[1]}\nSlurmUser=root\nLogFile={self.folder}/log/slurmdbd.log\n{_communication('NoInAddrAny')}\n"
            f"PidFile={self.folder}/run/slurmdbd.own.pid\nStorageType=accounting_storage/mysql\n"
            "StorageHost=localhost\nStorageUser=root\nStorageLoc=slurm_acct_db\n"
        )
        accounting.chmod(0o600)

    def _gpu_line(self, node: str) -> str:
        """Return a node's line of gres.conf; its GPUs are character devices, twins of /dev/null."""
        folder = self.folder / "dev" / node
        folder.mkdir(exist_ok=True)
        for index in range(_GPUS_PER_NODE):
            device = folder / f"gpu{index}"
            if not device.exists():
                os.mknod(device, 0o666 | 0o020000, os.makedev(1, 3))
        return f"NodeName={node} Name=gpu Type=a100 File={folder}/gpu[0-{_GPUS_PER_NODE - 1}]\n"

    # -- daemons

    def _start_munge(self) -> None:
        run, log = self.folder / "run", self.folder / "log"
        options = {
            "--socket": run / "munge.sock",
            "--key-file": self.folder / "etc" / "munge.key",
            "--pid-file": run / "munged.own.pid",
            "--log-file": log / "munged.log",
            "--seed-file": run / "munged.seed",
        }
        words = [f"{option}={path}" for option, path in options.items()]
        self._start("munged", ["munged", "--foreground", "--force", *words])
        self._wait_for("munged", lambda: self._succeeds("munge", "-S", str(run / "munge.sock"), "-n"))

    def _start_accounting(self) -> None:
        sock, data = self.folder / "run" / "db.sock", self.folder / "mysql"
        common = ["--no-defaults", "--user=root", f"--datadir={data}", "--innodb-log-file-size=8M"]
        common += ["--innodb-flush-method=nosync", "--innodb-doublewrite=0"]
        if not data.exists():
            install = ["mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db"]
            command = [*install, "--skip-name-resolve"]
            result = subprocess.run(command, env=self.environment, capture_output=True, text=True)
            if result.returncode:
                raise RuntimeError(f"mariadb-install-db: {result.stdout}{result.stderr}")
        server = ["mariadbd", *common, f"--socket={sock}", "--skip-networking", "--skip-log-bin"]
        server += [f"--pid-file={self.folder}/run/mariadbd.own.pid", "--performance-schema=0"]
        server += ["--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0"]
        self._start("mariadbd", server)
        asks = ("mariadb", "--no-defaults", "-uroot", "-S", str(sock), "-e", "select 1")
        self._wait_for("mariadbd", lambda: self._succeeds(*asks))
        # slurmdbd has no option for the socket; the client library reads this variable.
        self._start("slurmdbd", ["slurmdbd", "-D"], {"MYSQL_UNIX_PORT": str(sock)})
        self._wait_for("slurmdbd", lambda: self._succeeds("sacctmgr", "-n", "list", "cluster"))
        self._quietly("sacctmgr", "-i", "add", "cluster", "adabatch")

    def _start(self, name: str, command: Sequence[str], extra: dict[str, str] | None = None) -> None:
        environment = {**self.environment, **(extra or {}), _MARK: str(self.folder)}
        with open(self.folder / "log" / f"{name}.out", "ab") as output:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._processes.append(process)
        record = {"pid": process.pid, "start": _start_time(process.pid)}
        (self.folder / "run" / f"{name}.json").write_text(json.dumps(record))

    def _pid(self, name: str) -> int | None:
        """Return a daemon's process id if it is still the process that was started."""
        try:
            record = json.loads((self.folder / "run" / f"{name}.json").read_text())
        except FileNotFoundError:
            return None
        is_same = record["start"] is not None and _start_time(record["pid"]) == record["start"]
        return int(record["pid"]) if is_same else None

    def _alive(self, name: str) -> bool:
        return self._pid(name) is not None

    def _end(self, name: str) -> None:
        pid = self._pid(name)
        if pid is not None:
            _kill(pid, signal.SIGTERM)
            if not _until(lambda: not self._alive(name), 10):
                _kill(pid, signal.SIGKILL)
                _until(lambda: not self._alive(name), 5)
        (self.folder / "run" / f"{name}.json").unlink(missing_ok=True)

    def _wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        if not _until(lambda: ready() or not self._alive(name), _START_SECONDS) or not self._alive(name):
            logs = [path for path in (self.folder / "log").glob(f"{name}*") if path.stat().st_size]
            tail = "\n".join(path.read_text(errors="replace")[-2000:] for path in logs)
            raise RuntimeError(f"{name} of the test cluster did not come up:\n{tail}")

    def _succeeds(self, *command: str) -> bool:
        return self._quietly(*command) == 0

    def _quietly(self, *command: str) -> int:
        try:
            return subprocess.run(command, env=self.environment, capture_output=True, timeout=20).returncode
        except subprocess.TimeoutExpired:
            return 1

    def _nodes_idle(self) -> bool:
        listed = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%N %t", "-p", "main"], env=self.environment, capture_output=True, text=True
        )
        states = dict(line.split() for line in listed.stdout.splitlines() if line.count(" ") == 1)
        for node, state in states.items():
            if state.startswith(("drain", "down")):
                self._quietly("scontrol", "update", f"NodeName={node}", "State=RESUME")
        return len(states) == len(_NODES) and all(state == "idle" for state in states.values())

    def _strays(self, *, jobs_only: bool = False) -> list[int]:
        """Return the living processes of this cluster's jobs, and of its daemons unless ``jobs_only``."""
        mark, config = f"{_MARK}={self.folder}".encode(), f"SLURM_CONF={self.config}".encode()
        found = []
        for pid, environment in _environments():
            of_job = config in environment and any(entry.startswith(b"SLURM_JOB_ID=") for entry in environment)
            if of_job or (not jobs_only and mark in environment):
                found.append(pid)
        return found


def _communication(parameters: str) -> str:
    """Return the line by which the daemons listen on this host's own address only, where that is the loopback."""
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        return ""
    return f"CommunicationParameters={parameters}" if address == "127.0.0.1" else ""


def _environments() -> Iterator[tuple[int, list[bytes]]]:
    """Yield every other living process with the environment that it was started with."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:  # it has just ended
                continue
            if environment and _start_time(int(entry.name)) is not None:
                yield int(entry.name), environment.split(b"\0")


def _start_time(pid: int) -> str | None:
    """Return when a process started; None for one that is gone or waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in ("Z", "X") else fields[19]


def _kill(pid: int, number: signal.Signals) -> None:
    if _start_time(pid) is not None:
        os.kill(pid, number)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; return whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@contextmanager
def _starting_alone() -> Iterator[None]:
    """Wait until no other process starts a cluster: ports that are free now must be free until they are listened on."""
    with open(Path(tempfile.gettempdir()) / "adabatch-slurm-start.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _free_ports(count: int) -> list[int]:
    """Return ports below the range that the kernel hands out, on which nobody listens."""
    ports: list[int] = []
    for port in range(16_800 + os.getpid() % 5000, 32_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError("no free ports for the test cluster")


def main() -> int:
    """Start or stop a cluster from the command line."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("start", "stop"):
        print(__doc__, file=sys.stderr)
        return 2
    reason = missing_requirement()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 2
    cluster = Cluster(Path(sys.argv[2]), max_array_size=1001)
    if sys.argv[1] == "start":
        cluster.start()
        print(f"export SLURM_CONF={cluster.config}")
    else:
        cluster.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
