"""Expands sweeps into runs and submits them to this machine or to a SLURM cluster.

Imports `adabatch`, but never torch, so a sweep of a thousand runs is expanded, planned and checked in seconds.
"""
