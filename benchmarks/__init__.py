"""What this package costs and gains in time, measured against a common way to write the same training.

>>> python -m benchmarks --quick
"""
