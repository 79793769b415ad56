from adabatch.errors import ConfigError as ConfigError
from adabatch.library.batch_schedule import BatchSchedule as BatchSchedule
from adabatch.library.record import record as record
from adabatch.library.sampler import GrowingBatchSampler as GrowingBatchSampler
from adabatch.plugins.names import register_dataset as register_dataset
from adabatch.plugins.names import register_network as register_network
from adabatch.plugins.names import register_optimizer as register_optimizer
from adabatch.plugins.names import register_schedule as register_schedule
from adabatch.plugins.names import register_tracker as register_tracker
from adabatch.schedules.base import Decision as Decision
from adabatch.schedules.base import Schedule as Schedule
from adabatch.schedules.base import Signals as Signals
from adabatch.schedules.progress import Progress as Progress
from adabatch.trackers.base import Tracker as Tracker

__version__: str
