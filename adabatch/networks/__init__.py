"""Networks by name. Importing this package does not import torch; building a network does."""

from adabatch.networks.registry import build_by_path, build_network, check_network_name, network_names

__all__ = ["build_by_path", "build_network", "check_network_name", "network_names"]
