"""From a sweep to its runs, and from there to this machine's cores or to a SLURM cluster.

Imports `adabatch`, never torch: a sweep of a thousand runs is expanded, planned and checked in seconds.
"""
