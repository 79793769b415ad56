import sys

from adabatch.command import main
from adabatch.processes.collector import pause_collector

if __name__ == "__main__":
    pause_collector()
    sys.exit(main())
