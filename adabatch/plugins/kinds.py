"""The kinds of plug-ins, and the mark that a decorator leaves on one."""

from __future__ import annotations

from enum import StrEnum

MARK = "__adabatch_plugin__"


class Kind(StrEnum):
    """What a plug-in is; the value is the config group that names it."""

    NETWORK = "network"
    DATASET = "dataset"
    OPTIMIZER = "optimizer"
    SCHEDULE = "schedule"
    TRACKER = "tracker"


#: The key of a group that holds the name shown to people.
NAME_KEYS = {
    Kind.NETWORK: "name",
    Kind.DATASET: "name",
    Kind.OPTIMIZER: "kind",
    Kind.SCHEDULE: "name",
    Kind.TRACKER: "kind",
}
#: What plug-ins of a kind are passed, besides the user's arguments, if their signatures name it.
PASSED = {
    Kind.NETWORK: (
        *("num_channels", "in_channels", "in_chans"),
        "num_classes",
        "image_size",
        "input_shape",
        "num_tokens",
    ),
    Kind.DATASET: ("root", "download", "train", "split"),
    Kind.OPTIMIZER: ("lr", "learning_rate"),
    Kind.SCHEDULE: ("batch_size", "max_batch_size", "learning_rate", "num_samples", "num_epochs"),
    Kind.TRACKER: ("run_dir", "config", "meta", "name"),
}


def is_marked(found: object, kind: Kind) -> bool:
    """Return whether an object was registered as a plug-in of a kind."""
    # A class inherits its base's attributes, but not its registration.
    return getattr(found, "__dict__", {}).get(MARK) == kind.value
