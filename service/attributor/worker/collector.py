"""Python's garbage collector, told what stays."""

import gc


def settle_memory() -> None:
    """What is here now stays: models are hundreds of thousands of objects, which the collector would look at again and
    again (a fifth of the time of a small model's passes, measured). To be called whenever models came or went: what
    was settled before and is garbage by now, in cycles, is collected first."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
