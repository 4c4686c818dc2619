"""One module per kind of model file: each turns a verified bundle into a torch module. Knows bundles, no requests."""
