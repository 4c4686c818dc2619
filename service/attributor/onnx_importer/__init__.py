"""ONNX graphs as torch modules that can be differentiated. Knows onnx, numpy and torch, and nothing of bundles."""
