"""Continuous batching: which nodes of which jobs go into the next pass. No tensors, no Redis, no HTTP."""
