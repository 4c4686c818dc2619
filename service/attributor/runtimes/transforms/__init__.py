"""Modules that compute the same as a model's own, cheaper: found in a recorded pass, then proven on examples."""
