"""What a device needs for a training, measured: micro-batch caps, compiling, and forecasts of a run's seconds.

`times` and `forecast` do not import torch; the others compute on the device. ``python -m adabatch.measure CONFIG ...``
answers for the configs of runs.
"""
