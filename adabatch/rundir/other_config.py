"""The refusal of a folder that holds a run with another config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adabatch.errors import ConfigError
from adabatch.fields import Difference


def refuse_other_config(run_dir: Path, found: Sequence[Difference], another: str) -> None:
    """Raise ConfigError if the config that was asked for differs from that of the folder's run.

    Args:
        found: the differences, the asked values first.
        another: how to get another folder, as the start of a sentence.
    """
    if found:
        sentences = " ".join(difference.sentence("the saved one") for difference in found)
        raise ConfigError(
            f"run_dir is {run_dir}; it holds a run with another config. {sentences} {another}, repeat the call with "
            "the saved values to go on with that run, or delete the folder to start anew."
        )
