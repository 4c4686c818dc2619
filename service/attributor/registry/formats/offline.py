"""Switches the Hugging Face hub off. Imported before transformers, which reads this once.

What a bundle does not hold no hash covers: whatever a configuration talks transformers into, it finds no hub. Of this
process and its children.
"""

import os

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
