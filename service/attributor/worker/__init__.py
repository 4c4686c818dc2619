"""Moves jobs between the queue and the engine."""
