"""The verbs of `adabatch.cli` that concern one run; what they need is imported when they are called."""

from __future__ import annotations

from adabatch.verb_help import parsed_by


@parsed_by("adabatch.shell.arguments:parser_of")
def train() -> int:
    """Train one run, or resume it.

    adabatch train network=tiny_cnn dataset=digits schedule=adabatch seed=1 num_epochs=2
    """
    from adabatch.command import main
    from adabatch.processes.collector import pause_collector

    pause_collector()
    return main("adabatch train")


@parsed_by("adabatch.shell.arguments:parser_of")
def verify_resume() -> int:
    """Kill and resume a short run at random moments, and compare its end with an undisturbed one.

    adabatch verify-resume network=tiny_cnn dataset=digits num_epochs=3
    """
    from adabatch.tools.verify_resume import main

    return main(program="adabatch verify-resume")


@parsed_by("adabatch.shell.arguments:parser_of")
def completion() -> int:
    """Print what bash, zsh or fish must read to complete the words of a call.

    adabatch completion bash >> ~/.bashrc
    adabatch completion zsh >> ~/.zshrc
    adabatch completion fish > ~/.config/fish/completions/adabatch.fish
    """
    import argparse
    import sys

    from adabatch.shell.arguments import add_completion
    from adabatch.shell.completion import script
    from adabatch.verb_help import help_of

    parser = argparse.ArgumentParser(prog="adabatch completion", **help_of(completion))
    add_completion(parser)
    print(script(parser.parse_args(sys.argv[1:]).shell))
    return 0
