"""Configs: the schema, what its keys affect, the hash, saved configs, and composing configs from ``conf/``."""

from adabatch.config.allocations import Allocation, allocation_of, allocations, during, require_known_ranks
from adabatch.config.hashing import HASH_RULE, config_hash, matches_hash
from adabatch.config.keys import differences
from adabatch.config.saved import from_dict, load_config, load_schedule, save_config, to_dict
from adabatch.config.schema import (
    CheckpointConfig,
    DatasetConfig,
    HardwareConfig,
    NetworkConfig,
    OptimizerConfig,
    TrackerConfig,
    TrainConfig,
    is_auto,
    with_measured,
)
from adabatch.files import CONF_DIR
from adabatch.schedules import RampScheduleConfig, ScheduleConfig, StepwiseScheduleConfig

__all__ = [
    "CONF_DIR",
    "HASH_RULE",
    "Allocation",
    "CheckpointConfig",
    "DatasetConfig",
    "HardwareConfig",
    "NetworkConfig",
    "OptimizerConfig",
    "RampScheduleConfig",
    "ScheduleConfig",
    "StepwiseScheduleConfig",
    "TrackerConfig",
    "TrainConfig",
    "allocation_of",
    "allocations",
    "config_hash",
    "differences",
    "during",
    "from_dict",
    "is_auto",
    "load_config",
    "load_schedule",
    "matches_hash",
    "require_known_ranks",
    "save_config",
    "to_dict",
    "with_measured",
]
