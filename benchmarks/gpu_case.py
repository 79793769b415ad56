"""The arms of `gpu_speed`, by name. Nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass

#: The paper's published loop.
REFERENCE = "reference"
#: The whole update in one CUDA graph, without loader and trainer: what graphs could reach.
BARE = "bare bf16"


@dataclass(frozen=True)
class OurArm:
    """One way in which our trainer computes.

    Attributes:
        words: overrides of the config.
        uses_graphs: whether it is worth nothing when micro-batches are not replayed as CUDA graphs.
    """

    precision: str
    words: tuple[str, ...]
    uses_graphs: bool


_EAGER = ("hardware.compile=false", "hardware.cuda_graphs=false")
_GRAPHS = ("hardware.compile=false", "hardware.cuda_graphs=auto")
COMPILED = "graphs + compile bf16"
#: In the order in which they are measured. Compiling takes longer than all else, and comes when all else is known.
OUR_ARMS = {
    "eager fp32": OurArm("fp32", _EAGER, uses_graphs=False),
    "eager bf16": OurArm("bf16", _EAGER, uses_graphs=False),
    "graphs fp32": OurArm("fp32", _GRAPHS, uses_graphs=True),
    "graphs bf16": OurArm("bf16", _GRAPHS, uses_graphs=True),
    COMPILED: OurArm("bf16", ("hardware.compile=true", "hardware.cuda_graphs=auto"), uses_graphs=True),
}


def arms_before_compiling(device: str) -> list[str]:
    """Return the arms to measure on a device, in turn; graphs need a GPU."""
    ours = [name for name, arm in OUR_ARMS.items() if name != COMPILED and (device == "cuda" or not arm.uses_graphs)]
    return [REFERENCE, *ours, BARE]


def arms_with_compiling() -> list[str]:
    """Return the arms of the second turn: the compiled one, and those that it is compared with."""
    return [REFERENCE, "graphs bf16", COMPILED, BARE]
