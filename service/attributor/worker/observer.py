"""Who is told what a worker does. This one listens to nothing; `observing.py` counts and traces."""

from attributor.engine.engine import Pass
from attributor.jobs.job import ClaimedJob, Failure, Lease
from attributor.jobs.result import JobResult


class Observer:
    """Told in the event loop, but of passes, of which it is told in the engine's thread. What it does, the worker waits
    for."""

    def took(self, job: ClaimedJob) -> None:
        """A job was claimed."""

    def passed(self, done: Pass) -> None:
        """The engine has made a pass."""

    def computed(self, lease: Lease, outcome: JobResult | Failure | None) -> None:
        """A job has ended, and is about to be stored; None: it was stopped."""

    def settled(self, lease: Lease, *, recorded: bool) -> None:
        """A job's end was stored; not `recorded`: it is another worker's by now."""
