"""Trains one run: one network, one data set, one schedule of batch size and learning rate, one seed."""

__version__ = "0.1.0"
