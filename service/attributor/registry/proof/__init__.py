"""What a model must show before it serves: trials, checks of one module, golden examples. Knows no requests."""
