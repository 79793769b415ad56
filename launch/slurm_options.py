"""Options of sbatch and srun that a cluster file passes on, and which of them launch sets itself."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from adabatch.errors import ConfigError
from adabatch.fields import require

#: What launch sets itself, and what to use instead.
_OWN_SBATCH = {
    "partition": "cluster.partition",
    "account": "cluster.account",
    "qos": "cluster.qos",
    "constraint": "cluster.constraint",
    "time": "cluster.time",
    "gpus-per-node": "cluster.gpus_per_node",
    "cpus-per-task": "cluster.cpus_per_task",
    "mem": "cluster.memory_gb",
    "signal": "cluster.signal_delay_s",
    "requeue": "cluster.max_retries",
    "no-requeue": "cluster.max_retries=0",
    "nodes": "hardware.num_nodes",
    "ntasks": "hardware.num_devices",
    "ntasks-per-node": "hardware.num_devices",
    "array": "cluster.max_array_size and cluster.max_concurrent_jobs",
    "clusters": "the variable SLURM_CLUSTERS, which squeue and scancel read, too",
}
#: What launch needs to find its jobs and their logs again.
_RESERVED_SBATCH = (
    "job-name",
    "output",
    "error",
    "open-mode",
    "wrap",
    "parsable",
    "test-only",
    "wait",
    "input",
    "quiet",
)
_OWN_SRUN = {
    "ntasks": "hardware.num_devices",
    "ntasks-per-node": "hardware.num_devices",
    "nodes": "hardware.num_nodes",
    "cpus-per-task": "cluster.cpus_per_task",
}
_RESERVED_SRUN = ("output", "error", "kill-on-bad-exit", "unbuffered", "job-name", "multi-prog", "label", "pty")
_SHORT_SRUN = {
    "n": "ntasks",
    "N": "nodes",
    "c": "cpus-per-task",
    "o": "output",
    "e": "error",
    "K": "kill-on-bad-exit",
    "u": "unbuffered",
    "J": "job-name",
    "l": "label",
}
_OPTION_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_GPU_OPTIONS = ("gpus", "gpus-per-task", "gpus-per-socket")
_TYPED_GPUS = re.compile(r"(?:([A-Za-z][A-Za-z0-9_.-]*):)?(\d+)")
OptionValue = bool | int | float | str


def parse_gpus(value: int | str) -> tuple[str | None, int]:
    """Return type and number of ``a100:2`` or ``2``; the type is None where none is given.

    Raises:
        ConfigError: for anything else.
    """
    match = _TYPED_GPUS.fullmatch(str(value))
    if match is None or isinstance(value, bool):
        raise ConfigError(
            f"cluster.gpus_per_node is {value}; it must be null, a number, or TYPE:NUMBER such as a100:2."
        )
    return match.group(1), int(match.group(2))


def sbatch_options(given: Mapping[str, object], memory_is_set: bool, gpus_are_set: bool) -> dict[str, OptionValue]:
    """Return ``cluster.sbatch`` by the options' names, without those that are off.

    ``mem_per_cpu`` and ``mem-per-cpu`` are the same option. True is an option without a value; False and null leave it
    out; a list is joined by commas.

    Args:
        memory_is_set: whether cluster.memory_gb is given, with which other options of memory clash.
        gpus_are_set: the same for cluster.gpus_per_node.

    Raises:
        ConfigError: for an option that launch sets itself, a name without the form of one, or an unusable value.
    """
    options: dict[str, OptionValue] = {}
    for key, value in given.items():
        name = option_name(str(key))
        full_key = f"cluster.sbatch.{key}"
        require(_OPTION_NAME.fullmatch(name) is not None and len(name) > 1, full_key, value, "a long option of sbatch")
        require(name not in options, full_key, value, f"given once; {name} is there already")
        _refuse_own(full_key, name, _OWN_SBATCH, _RESERVED_SBATCH)
        text = _value(full_key, value)
        if text is not None:
            options[name] = text
    for name in ("mem-per-cpu", "mem-per-gpu"):
        if name in options and memory_is_set:
            raise ConfigError(f"cluster.sbatch has {name} and cluster.memory_gb is given; give one of the two.")
    if gpus_are_set and asks_for_gpus(options):
        raise ConfigError("cluster.sbatch asks for GPUs and cluster.gpus_per_node is given; give one of the two.")
    return options


def option_name(key: str) -> str:
    """Return sbatch's name of a key of ``cluster.sbatch``: ``mem-per-cpu`` of ``mem_per_cpu``."""
    return key.removeprefix("--").replace("_", "-")


def gpus_of_node(options: Mapping[str, object]) -> int | None:
    """Return how many GPUs of one node options of sbatch ask for in ``gres``; None if they do not say."""
    count = None
    for part in str(options.get("gres", "")).split(","):
        name, *rest = part.strip().split(":")
        if name == "gpu":
            number = rest[-1] if rest and rest[-1].isdecimal() else "1"
            count = (count or 0) + int(number)
    return count


def asks_for_gpus(options: Mapping[str, object]) -> bool:
    """Return whether options of sbatch ask for GPUs."""
    kinds = [part.split(":")[0].strip() for part in str(options.get("gres", "")).split(",")]
    return "gpu" in kinds or any(name in options for name in _GPU_OPTIONS)


def _value(key: str, value: object) -> OptionValue | None:
    if value is None or value is False:
        return None
    if value is True:
        return True
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    allowed = "a word, a number, true, null or a list of words, of printable characters in one line"
    is_plain = isinstance(value, str | int | float) and str(value).isprintable() and str(value).strip() != ""
    require(is_plain, key, repr(value), allowed)
    return str(value)


def check_srun_options(given: Sequence[str]) -> None:
    """Raise ConfigError if ``cluster.srun`` has an option that launch sets itself, or does not begin with an option."""
    for number, word in enumerate(given):
        is_plain = word.strip() != "" and word.isprintable() and (number > 0 or word.startswith("-"))
        require(is_plain, "cluster.srun", list(given), "a list of options such as --container-image=IMAGE")
        if word.startswith("--"):
            name = word[2:].partition("=")[0].replace("_", "-")
        elif word.startswith("-") and len(word) > 1:
            name = _SHORT_SRUN.get(word[1], "")
        else:
            continue
        _refuse_own(f"cluster.srun's {word}", name, _OWN_SRUN, _RESERVED_SRUN)


def _refuse_own(key: str, name: str, instead: Mapping[str, str], reserved: Sequence[str]) -> None:
    if name in instead:
        raise ConfigError(f"{key} cannot be passed on, because launch sets --{name} itself; use {instead[name]}.")
    if name in reserved:
        raise ConfigError(f"{key} cannot be passed on, because launch sets --{name} to find its jobs and their logs.")
