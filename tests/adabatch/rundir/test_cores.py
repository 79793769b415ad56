"""The cores of a container: quotas of control groups of both versions, in files as Linux writes them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import adabatch.rundir.cores
from adabatch.rundir.cores import available_cores, cpu_quota


def process(folder: Path, cgroup: str, mountinfo: str, files: dict[str, str]) -> Path:
    """Write a process's folder of /proc, and the files of its groups, both in ``folder``."""
    proc = folder / "proc"
    proc.mkdir(exist_ok=True)
    (proc / "cgroup").write_text(cgroup)
    (proc / "mountinfo").write_text(mountinfo.replace("SYS", str(folder / "sys").replace(" ", r"\040")))
    for name, content in files.items():
        path = folder / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return proc


V2 = "30 23 0:26 / SYS rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "25 20 0:21 / SYS/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
V1 += "24 20 0:20 / SYS/memory rw - cgroup cgroup rw,memory\n"


@pytest.mark.parametrize(
    ("cgroup", "mountinfo", "files", "quota"),
    [
        ("0::/a/b\n", V2, {"a/b/cpu.max": "250000 100000\n"}, 2.5),
        ("0::/a/b\n", V2, {"a/b/cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", V2, {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 200000\n"}, 1.5),
        ("0::/a/b\n", V2, {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "300000 100000\n"}, 3.0),
        ("0::/\n", V2, {"cpu.max": "700000 100000\n"}, 7.0),
        # Docker without a namespace of groups: the group's host name, of which only the group itself is mounted.
        ("0::/docker/abc\n", V2.replace("0:26 / ", "0:26 /docker/abc "), {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/../other\n", V2, {"cpu.max": "60000 20000\n"}, 3.0),
        ("4:cpu,cpuacct:/k\n1:memory:/k\n", V1, {"cpu,cpuacct/k/cpu.cfs_quota_us": "350000\n",
                                                 "cpu,cpuacct/k/cpu.cfs_period_us": "100000\n"}, 3.5),
        ("4:cpu,cpuacct:/k\n", V1, {"cpu,cpuacct/k/cpu.cfs_quota_us": "-1\n",
                                    "cpu,cpuacct/k/cpu.cfs_period_us": "100000\n"}, None),
        ("4:cpu,cpuacct:/k\n0::/k\n", V1 + V2.replace("SYS", "SYS/unified"),
         {"cpu,cpuacct/k/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/k/cpu.cfs_period_us": "50000\n"}, 4.0),
        ("3:cpuset:/k\n", V1, {}, None),
        ("0::/a\n", V2, {"a/cpu.max": "nonsense\n"}, None),
        ("0::/a\n", V2, {"a/cpu.max": "100000 0\n"}, None),
        ("garbage", "garbage - \n\n1 2 3 - cgroup2\n", {}, None),
    ],
)  # fmt: skip
def test_the_quota_is_the_least_of_a_group_and_its_parents(cgroup, mountinfo, files, quota, tmp_path):
    folder = tmp_path / "with a space"
    folder.mkdir()
    assert cpu_quota(process(folder, cgroup, mountinfo, files)) == quota


def test_without_proc_there_is_no_limit(tmp_path):
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("quota", "affinity", "cores"),
    [("150000", 8, 1), ("50000", 8, 1), ("390000", 8, 3), ("900000", 8, 8), ("max", 8, 8)],
)
def test_available_cores_are_the_lesser_of_affinity_and_quota(quota, affinity, cores, tmp_path, monkeypatch):
    proc = process(tmp_path, "0::/\n", V2, {"cpu.max": f"{quota} 100000\n"})
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)))
    monkeypatch.setattr(adabatch.rundir.cores.cpu_quota, "__defaults__", (proc,))
    assert available_cores() == cores
