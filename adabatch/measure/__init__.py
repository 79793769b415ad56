"""Measurements on a device: micro-batch caps, compile modes, and forecasts of a run's seconds.

`times` and `forecast` do not import torch; the others compute on the device. ``python -m adabatch.measure CONFIG ...``
measures for the configs of runs.
"""
