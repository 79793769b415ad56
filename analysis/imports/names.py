"""The names that a column may have, or be mapped to: of an epoch, of who ran, of what the run was."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from adabatch.config.keys import KEYS, is_key
from adabatch.config.schema import GROUPS
from adabatch.rundir.columns import COLUMNS, Kind, columns_where, is_whole
from adabatch.rundir.meta import LaunchFacts, Meta, fact_infos
from analysis.imports.text import Unusable, parse_value

IDENTITY = ("arm", "seed", "dataset", "network")
#: Any of them tells runs of one arm and seed apart.
REPEATS = ("repeat", "run", "run_id")
SAMPLES_PER_EPOCH, SECONDS_PER_EPOCH = "samples_per_epoch", "seconds_per_epoch"
ALIASES = {"dataset.name": "dataset", "network.name": "network"}
#: The import itself says these.
_OF_THE_IMPORT = frozenset(
    {"format_version", "adabatch_version", "config_hash", "source", "trainer", "imported_from", "results_only", "arm"}
)
_NOT_DECLARED = frozenset({"run_dir", "seed", *ALIASES})


def _scalar_facts(owner: type[Meta] | type[LaunchFacts]) -> dict[str, Any]:
    """Return the types of the facts that one cell can hold and that the frame of runs shows."""
    plain = {str, int, float, bool}
    return {
        name: info.kinds[-1]
        for name, info in fact_infos(owner).items()
        if info.in_frame and set(info.kinds) <= plain and name not in _OF_THE_IMPORT
    }


#: Facts of ``meta.json`` that a log may declare, once a run, and their types.
META_FACTS = _scalar_facts(Meta)
LAUNCH_FACTS = _scalar_facts(LaunchFacts)
#: What a run is asked once: type by name.
DECLARED: dict[str, Any] = {
    **{name: key.declared for name, key in KEYS.items() if name not in _NOT_DECLARED},
    **META_FACTS,
    **LAUNCH_FACTS,
}
#: What an epoch is asked; ``world_size`` is a fact of the run.
MEASURED = (*(name for name in COLUMNS if name not in DECLARED), SAMPLES_PER_EPOCH, SECONDS_PER_EPOCH)
COUNTS = (*(name for name in COLUMNS if is_whole(name) and name in MEASURED), SAMPLES_PER_EPOCH)
FRACTIONS = columns_where(kind=Kind.FRACTION)
BYTES = columns_where(kind=Kind.BYTES)
SECONDS = (*columns_where(kind=Kind.SECONDS), SECONDS_PER_EPOCH)
LOSSES = tuple(name for name in MEASURED if name.endswith("_loss"))
#: What an import cannot do without.
REQUIRED = (*columns_where(required=True), "learning_rate")
REQUIRED_RESULTS = ("test_accuracy", "elapsed_seconds", "num_epochs")
#: What may be the same in all epochs of a file; other numbers of an epoch must be columns.
_CONSTANT = frozenset(
    {"batch_size", "micro_batch_size", "accumulation_steps", "learning_rate", SAMPLES_PER_EPOCH, SECONDS_PER_EPOCH}
)
KNOWN = (*IDENTITY, *REPEATS, *MEASURED, *DECLARED)
_NAME = re.compile(r"[\w,=+-][\w.,=+-]*")


@dataclass(frozen=True)
class Unit:
    """How a log's number becomes ours: times ``scale``, plus ``offset``."""

    scale: Decimal = Decimal(1)
    offset: Decimal = Decimal(0)
    of: tuple[str, ...] = ()


PLAIN = Unit()
#: What may follow a name in --map.
UNITS = {
    "percent": Unit(Decimal("0.01"), of=FRACTIONS),
    "ms": Unit(Decimal("0.001"), of=SECONDS),
    "seconds": Unit(of=SECONDS),
    "minutes": Unit(Decimal(60), of=SECONDS),
    "hours": Unit(Decimal(3600), of=SECONDS),
    "MiB": Unit(Decimal(1 << 20), of=BYTES),
    "GiB": Unit(Decimal(1 << 30), of=BYTES),
    "from_zero": Unit(offset=Decimal(1), of=("epoch", "updates")),
}


def is_known(name: str) -> bool:
    """Return whether a name is ours: one of `KNOWN`, or a key of a group that the schema does not list."""
    group, dot, rest = name.partition(".")
    return name in KNOWN or (bool(dot and rest) and group in GROUPS and is_key(name) and name not in ALIASES)


def may_be_set(name: str) -> bool:
    """Return whether one value may stand for all rows of the files."""
    return name not in MEASURED or name in _CONSTANT


def is_number(name: str) -> bool:
    """Return whether a name's values are numbers, so that a decimal comma is one."""
    return name in MEASURED or DECLARED.get(name) in (int, float) or name == "seed"


def identity_value(name: str, text: str) -> str | int:
    """Return who ran: names as they are, the seed as a number.

    Raises:
        Unusable: naming the value and what is allowed.
    """
    if name != "seed":
        if not _NAME.fullmatch(text):
            raise Unusable(f"{name} is {text or 'empty'}; it must be a name of letters, digits and _ . , = + -.")
        return text
    return int(_checked("seed", text, int))


def declared_value(name: str, text: str) -> Any:
    """Return what a run was, of the type that the schema or ``meta.json`` gives it; text for keys that it lacks.

    Raises:
        Unusable: naming the value and what is allowed.
    """
    return _checked(name, text, DECLARED.get(name, str))


def _checked(name: str, text: str, declared: Any) -> Any:
    try:
        value = parse_value(text, declared)
    except ValueError as error:
        raise Unusable(f"{name} is {text or 'empty'}; it must be {error}.") from error
    allowed = KEYS[name].facts.allowed if name in KEYS else None
    # Other trainers have other optimizers, precisions and data sets, so that words are free.
    if allowed is not None and not isinstance(value, str) and not allowed.allows(value):
        raise Unusable(f"{name} is {text}; it must be {allowed.text}.")
    return value


def how_to_give(name: str) -> str:
    """Return by which words of the call a missing value is given."""
    ways = {
        "arm": "--set arm=NAME",
        "seed": "--set seed=0",
        "dataset": "--set dataset=cifar10",
        "network": "--set network=resnet20",
        "epoch": "--map COLUMN=epoch, or --results-only for one row a run",
        "updates": "--map COLUMN=updates, or --set samples_per_epoch=50000 and batch_size",
        "samples": "--map COLUMN=samples, or --set samples_per_epoch=50000",
        "batch_size": "--set batch_size=128, or --map COLUMN=batch_size",
        "learning_rate": "--map COLUMN=learning_rate, or --set learning_rate=0.1 if it never changed",
        "test_accuracy": "--map COLUMN=test_accuracy, or --map COLUMN=test_accuracy:percent",
        "elapsed_seconds": "--map COLUMN=elapsed_seconds, or seconds_per_epoch by --map or --set seconds_per_epoch=30",
        "num_epochs": "--set num_epochs=100",
    }
    return f"{name} ({ways[name]})"
