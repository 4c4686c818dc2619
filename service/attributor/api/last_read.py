"""The answer of the job that was read last, for those who read it page by page. Knows no store."""

import asyncio
from dataclasses import dataclass

from attributor.jobs.job import JobSpec
from attributor.jobs.result import PathResult

#: Seconds for which it is kept after it was last asked for. Ours: clients that read on ask again at once, and the
#: answer of a large job takes memory.
KEPT_S = 5.0

#: Its results, and what was asked.
Answer = tuple[tuple[PathResult, ...], JobSpec]


@dataclass(slots=True)
class LastRead:
    """One answer at a time: reading that of thousands of inputs takes a third of a second, and a page a hundredth of
    them. Answers never change, and ids are never used again; whether a job is still there is for the caller to see."""

    job_id: str | None = None
    answer: Answer | None = None
    _end: asyncio.TimerHandle | None = None

    def get(self, job_id: str) -> Answer | None:
        """The answer, if it was that job's."""
        if self.answer is None or job_id != self.job_id:
            return None
        self.keep(job_id, self.answer)
        return self.answer

    def keep(self, job_id: str, answer: Answer) -> None:
        """In place of the last one, for KEPT_S from now."""
        if self._end:
            self._end.cancel()
        self.job_id, self.answer = job_id, answer
        self._end = asyncio.get_running_loop().call_later(KEPT_S, self.forget)

    def forget(self) -> None:
        """Keep nothing."""
        self.job_id = self.answer = self._end = None
