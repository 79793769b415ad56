"""Developer tools, each run with ``python -m``."""
