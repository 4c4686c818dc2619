"""What a worker can take in. Knows the queue's port."""

from dataclasses import dataclass

from attributor.ports import Claimed, JobQueue


@dataclass(frozen=True, slots=True)
class Places:
    """How many more evaluations the engine has room for, how many more jobs it may have, and how many more comparators
    can be started. `keen`: whether it would rather have them than that others do. `empty`: whether it holds no job."""

    evaluations: int
    jobs: int
    comparators: int
    keen: bool
    empty: bool

    @property
    def engine(self) -> bool:
        """Whether the engine has room for a job, urgent or not."""
        return self.evaluations > 0 and self.jobs > 0

    async def claim(self, queue: JobQueue, wait_s: float) -> Claimed:
        """Jobs for these places. The bell is not waited for by who has none for what it mostly rings for."""
        if not (self.jobs or self.comparators):
            return Claimed()
        return await queue.claim(
            self.evaluations,
            jobs=self.jobs,
            comparisons=self.comparators,
            wait_s=wait_s if self.engine else 0.0,
            keen=self.keen,
            empty=self.empty,
        )


#: Of a worker that takes nothing.
NO_PLACES = Places(0, 0, 0, keen=False, empty=False)
