"""The whole service against what its users would otherwise run: rates, latencies, memory, fairness.

Run as `python -m benchmarks.serving` (extra `serving`); see `--help`.
"""
