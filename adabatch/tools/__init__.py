"""Tools for people, each run with ``python -m``."""
