"""Requests to job specifications: every check that needs the model. No HTTP, no waiting."""
