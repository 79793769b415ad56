"""How many cores this process may use: the lesser of its affinity and the CPU quota of its container."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_PROCESS = Path("/proc/self")
#: How mountinfo writes a space and the like.
_ESCAPED = re.compile(r"\\([0-7]{3})")


def available_cores() -> int:
    """Return how many cores this process may use, at least 1; of a fraction the whole cores count."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return cores if quota is None else max(1, min(cores, int(quota)))


def cpu_quota(process: Path = _PROCESS) -> float | None:
    """Return the cores that control groups, version 1 and 2, grant a process; None without a limit.

    A group is limited by its parents, too.

    Args:
        process: its folder in /proc.
    """
    quotas = [quota for folder in _group_folders(process) if (quota := _quota_of(folder)) is not None]
    return min(quotas, default=None)


def _quota_of(folder: Path) -> float | None:
    """Return the quota of one group, of either version; None without a limit, or if the files say something else."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        else:
            quota, period = (
                (folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii").strip() for name in ("quota", "period")
            )
        cores = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number
        return None
    return cores if cores > 0 else None


def _group_folders(process: Path) -> Iterator[Path]:
    """Yield the folders of the groups that limit a process: its own and their parents, up to where each is mounted."""
    groups = dict(_groups(process))
    for is_cpu, root, mount in _mounts(process):
        group = groups.get(is_cpu)
        if group is None:
            continue
        # A container may see its group under the host's name, although only the group itself is mounted.
        is_below = group.is_relative_to(root) and ".." not in group.parts
        below = group.relative_to(root) if is_below else PurePosixPath()
        folder = mount / below
        yield folder
        yield from (parent for parent in folder.parents if parent.is_relative_to(mount))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _groups(process: Path) -> Iterator[tuple[bool, PurePosixPath]]:
    """Yield the process's groups: of version 1's controller of CPUs (True), and of version 2 (False)."""
    for line in _lines(process / "cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if "cpu" in controllers.split(","):
            yield True, PurePosixPath(path)
        elif number == "0" and not controllers:
            yield False, PurePosixPath(path)


def _mounts(process: Path) -> Iterator[tuple[bool, PurePosixPath, Path]]:
    """Yield where they are mounted: whether it is version 1's controller of CPUs, the group there, and the folder."""
    for line in _lines(process / "mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3:
            continue
        is_cpu = kinds[0] == "cgroup" and "cpu" in kinds[2].split(",")
        if is_cpu or kinds[0] == "cgroup2":
            root, mount = (_ESCAPED.sub(lambda match: chr(int(match.group(1), 8)), text) for text in fields[3:5])
            yield is_cpu, PurePosixPath(root), Path(mount)
