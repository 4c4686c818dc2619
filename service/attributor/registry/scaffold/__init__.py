"""Bundles made of models that a person has: graphs, folders of transformers, torch modules. Runs no service."""
