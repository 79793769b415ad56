"""How many ranks train a batch of which size, where ``hardware.devices`` says so, and on how many nodes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from adabatch.errors import ConfigError
from adabatch.fields import Range, require

_KEY = "hardware.devices"


def _is_null_or_counts(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or not value:
        return False
    return all(
        isinstance(one, int) and not isinstance(one, bool) and one >= 1 for pair in value.items() for one in pair
    )


#: What ``hardware.devices`` may be.
DEVICES = Range("null, or at least one batch size with its number of devices, both at least 1", _is_null_or_counts)


def check_devices(devices: Mapping[int, int], num_nodes: int, num_devices: int) -> None:
    """Check the numbers of ranks by batch size.

    Args:
        devices: by batch size, from which on so many ranks are used; within `DEVICES`, and not null.
        num_nodes, num_devices: the most nodes, and the ranks of each, that the run may have.

    Raises:
        ConfigError: for a count that is not possible; the sentence names it.
    """
    batches = sorted(devices)
    for smaller, larger in itertools.pairwise(batches):
        allowed = f"at least {devices[smaller]}, the devices of the smaller batch of {smaller}"
        require(devices[larger] >= devices[smaller], f"{_KEY}.{larger}", devices[larger], allowed)
    shape = f"hardware.num_nodes x hardware.num_devices is {num_nodes} x {num_devices}"
    most = devices[batches[-1]]
    if most != num_nodes * num_devices:
        raise ConfigError(f"{_KEY}.{batches[-1]} is {most}, and {shape}; the largest number must be all of them.")
    for batch in batches:
        count = devices[batch]
        if count > num_devices and count % num_devices:
            raise ConfigError(f"{_KEY}.{batch} is {count}, and {shape}; it must fill its nodes: a multiple of "
                              f"{num_devices}, or less than one node.")  # fmt: skip


def ranks_for(devices: Mapping[int, int], batch_size: int) -> int:
    """Return how many ranks train a batch; below the smallest one that is declared, as many as it has.

    Args:
        devices: not empty; see `check_devices`.
    """
    reached = [batch for batch in devices if batch <= batch_size]
    return devices[max(reached) if reached else min(devices)]


def nodes_for(num_ranks: int, num_devices: int) -> tuple[int, int]:
    """Return on how many nodes so many ranks run, and how many of them on each."""
    return (1, num_ranks) if num_ranks <= num_devices else (num_ranks // num_devices, num_devices)
