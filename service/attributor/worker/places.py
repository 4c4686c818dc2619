"""What a worker can take in. Knows the queue's port."""

from dataclasses import dataclass
from math import ceil

from attributor.ports import Claimed, JobQueue

#: Who holds as many jobs as it may takes so many more of priority 0, as a part of these: else they would wait until one
#: of the others ends, which compute in turns and so end together (up to a second, measured).
#: Ours: a quarter, as their passes come first and are short.
PART_OF_URGENT = 0.25


def of_engine(room: int, most: int, held: int) -> tuple[int, int]:
    """Evaluations and jobs that can be claimed by who has room for so many evaluations and holds so many jobs of
    `most`. No evaluations, but jobs: only those of priority 0."""
    if held < most:
        return room, most - held
    return 0, max(most + ceil(PART_OF_URGENT * most) - held, 0)


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
