"""Whether a partition has the nodes that the jobs of a chain need, asked before the first of them is submitted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from adabatch.config import HardwareConfig
from adabatch.terminal import counted
from launch.cluster_config import ClusterConfig
from launch.slurm import SlurmError, call
from launch.slurm_options import gpus_of_node


@dataclass(frozen=True)
class _Nodes:
    """Nodes that are alike: how many, and the cores and GPUs of each."""

    count: int
    cores: int
    gpus: int


def refuse_unavailable(cluster: ClusterConfig, wanted: Iterable[HardwareConfig]) -> None:
    """Raise SlurmError if the partition has too few nodes for one of some jobs, whatever else runs there.

    Where SLURM does not say what a partition has, sbatch decides.
    """
    nodes = _nodes(cluster.partition)
    if not nodes:
        return
    where = f"the partition {cluster.partition}" if cluster.partition else "the default partition"
    for hardware in wanted:
        cores = hardware.num_devices * (cluster.cpus_per_task or 1)
        gpus = hardware.num_devices if hardware.device == "cuda" else 0
        found = sum(group.count for group in nodes if group.cores >= cores and group.gpus >= gpus)
        if found < hardware.num_nodes:
            need = counted(cores, "core") + (f" and {counted(gpus, 'GPU')}" if gpus else "")
            raise SlurmError(
                f"hardware.devices needs {counted(hardware.num_nodes, 'node')} with {need} for "
                f"{counted(hardware.world_size, 'rank')}, and {where} has {found}; nothing was submitted."
            )


def _nodes(partition: str | None) -> list[_Nodes]:
    chosen = [f"--partition={partition}"] if partition else []
    try:
        lines = call(["sinfo", "--noheader", *chosen, "--format=%P|%D|%c|%G"]).splitlines()
    except SlurmError:
        return []
    nodes = []
    for line in lines:
        name, count, cores, gres = (*line.strip().split("|"), "", "", "")[:4]
        if (partition or name.endswith("*")) and count.isdecimal():
            gpus = gpus_of_node({"gres": gres.partition("(")[0]}) or 0
            nodes.append(_Nodes(int(count), int(cores.rstrip("+") or 0), gpus))
    return nodes
