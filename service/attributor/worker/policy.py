"""How a worker behaves."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerPolicy:
    """How a worker behaves; units and reasons stand in `settings.WorkerSettings`."""

    max_active_jobs: int
    max_comparators: int
    beat_s: float
    step_timeout_s: float
    drain_s: float
    rescan_s: float
