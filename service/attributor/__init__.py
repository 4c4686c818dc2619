"""Attributor: integrated gradients over HTTP, with the completeness error of every answer."""

__version__ = "0.1.0"
