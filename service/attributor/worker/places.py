"""What a worker can take in. Knows the queue's port."""

from dataclasses import dataclass

from attributor.jobs.job import ClaimedJob
from attributor.ports import JobQueue


@dataclass(frozen=True, slots=True)
class Places:
    """How many more jobs the engine should take, how many beyond that if they are urgent, and how many more comparators
    can be started. `keen`: whether it would rather have them than that others do."""

    engine: int
    urgent: int
    comparators: int
    keen: bool

    async def claim(self, queue: JobQueue, wait_s: float) -> list[ClaimedJob]:
        """Jobs for these places. The bell is not waited for by who has none for what it mostly rings for."""
        if not (self.engine or self.urgent or self.comparators):
            return []
        wait_s = wait_s if self.engine else 0.0
        return await queue.claim(
            self.engine, urgent=self.urgent, comparisons=self.comparators, wait_s=wait_s, keen=self.keen
        )
