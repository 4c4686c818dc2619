"""Job queues that do the same nothing: ours, three of other makers, and bare commands. See `benchmarks/queue.py`."""
