"""One module per kind of model file: each turns a verified bundle into a torch module. Knows bundles, no requests."""

import os

# Before transformers is imported, which reads them once: what a bundle does not hold no hash covers, so whatever a
# configuration talks transformers into, it finds the hub switched off. Of this process and its children.
os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
