"""The trainer's entry, a Hydra app over ``conf/``: ``python -m adabatch [key=value ...]``."""

from __future__ import annotations

import os
import sys
import tempfile

import hydra
from omegaconf import DictConfig, OmegaConf

from adabatch.compose import GROUPS, option_names, register_schemas, to_config, translated_errors
from adabatch.config import CONF_DIR
from adabatch.errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_USAGE, ConfigError
from adabatch.run import run_config

_HELP = """\
Trains one network on one data set under one schedule of batch size and learning rate.

  python -m adabatch network=resnet20 dataset=fashion_mnist schedule=adabatch seed=1
  python -m adabatch network=tiny_cnn dataset=digits num_epochs=20 schedule.batch_size=16
  python -m adabatch -m seed=1,2,3            several runs, one after another

Choose an option of a group with group=option, set a value with key=value:

{groups}

Keys people set first:

  num_epochs, seed, run_dir
  optimizer.learning_rate       for a batch of schedule.batch_size
  schedule.batch_size           samples per update, over all devices and accumulation steps
  schedule.every_epochs         epochs between two changes (schedule.milestones: [..] for chosen ones)
  schedule.batch_growth         what the batch is multiplied by
  schedule.learning_rate_decay  what the learning rate is multiplied by
  max_micro_batch_size          samples in one forward/backward; number, null or auto
  hardware.precision            fp32 or bf16

  --cfg job          print the composed config with every key, without training
  --config-dir DIR   add your own options: DIR/network/NAME.yaml and so on
  --help             this page

The same command again continues an interrupted run and recognises a finished one.
Exit status: 0 done, 1 failed, 2 wrong call or config, 75 stopped by a signal with its state saved.
"""


def _help_text() -> str:
    width = max(map(len, GROUPS))
    lines = []
    for group in GROUPS:
        text = ""
        for name in option_names(group):
            if len(text) + len(name) > 80:
                lines.append(f"  {group:{width}}  {text.rstrip()}")
                group, text = "", ""
            text += f"{name}, "
        lines.append(f"  {group:{width}}  {text.rstrip(', ')}")
    return _HELP.format(groups="\n".join(lines))


def main() -> int:
    """Compose the config of the command line, train, and return the exit status (the worst of a multirun)."""
    register_schemas()
    # Without it Hydra prints and exits by itself; its exceptions become our sentences here.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    scratch = tempfile.TemporaryDirectory(prefix="adabatch-")
    OmegaConf.register_new_resolver("adabatch.scratch", lambda: scratch.name, replace=True)
    OmegaConf.register_new_resolver("adabatch.help", _help_text, replace=True)
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    statuses = []

    @hydra.main(config_path=str(CONF_DIR), config_name="train", version_base="1.3")
    def task(composed: DictConfig) -> None:
        try:
            with translated_errors(words):
                statuses.append(run_config(to_config(composed)))
        except ConfigError as error:  # Hydra would print a line of its own before it
            print(error, file=sys.stderr)
            statuses.append(EXIT_USAGE)

    try:
        with scratch, translated_errors(words):
            task()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return max(statuses, default=EXIT_DONE)
