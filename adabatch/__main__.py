import sys

from adabatch.train import main

if __name__ == "__main__":
    sys.exit(main())
