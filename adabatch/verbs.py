"""The verbs of `adabatch.cli` that concern one run; what they need is imported when they are called."""

from __future__ import annotations


def train() -> int:
    """Train one run, or resume it."""
    from adabatch.command import main

    return main("adabatch train")


def verify_resume() -> int:
    """Kill and resume a short run at random moments, and compare its end with an undisturbed one."""
    from adabatch.tools.verify_resume import main

    return main(program="adabatch verify-resume")
