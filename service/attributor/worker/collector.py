"""Memory of this process: Python's garbage collector is told what stays, the system gets back what is free."""

import ctypes
import gc

#: glibc's; other C libraries have none, and keep less.
_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def settle_memory() -> None:
    """What is here now stays: models are hundreds of thousands of objects, which the collector would look at again and
    again (a fifth of the time of a small model's passes, measured). To be called whenever models came or went: what
    was settled before and is garbage by now, in cycles, is collected first."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def give_back_memory() -> None:
    """Free pages of the C library's heap go to the system. By itself glibc keeps what lies between allocations of many
    sizes, 100 MB after large jobs; to hand it over takes some milliseconds, and to ask for it anew as long."""
    if _trim is not None:
        _trim(0)
