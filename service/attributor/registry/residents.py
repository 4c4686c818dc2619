"""The models in memory, within a budget: who uses which, and which go first. Knows no torch, no files, no jobs but ids.

Any thread may ask. `add` and `drop` are for the one thread that loads.
"""

import threading
from dataclasses import dataclass

from attributor.jobs.model import ModelInfo, Tensors
from attributor.model_port import GradientModel


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that passed, ready to run. `memory_bytes`: of its parameters and buffers. `references`: the bundle's
    reference set, read with it: what is wrong with it must not show in a job."""

    model: GradientModel
    info: ModelInfo
    references: Tensors
    memory_bytes: int


class Residents:
    """Models by `name@version`. `budget_bytes`: the most that all of them may take; None: no bound.

    A model that a job uses is never evicted. Of the others those go first that were used the longest ago.
    """

    def __init__(self, budget_bytes: int | None) -> None:
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        #: In the order of their last use.
        self._models: dict[str, Resident] = {}
        #: By job.
        self._used: dict[str, str] = {}

    def get(self, ref: str) -> Resident | None:
        """The model, if it is in memory. Not counted as a use."""
        return self._models.get(ref)

    @property
    def total_bytes(self) -> int:
        """Of all models in memory."""
        with self._lock:
            return sum(each.memory_bytes for each in self._models.values())

    def use(self, job_id: str, ref: str) -> bool:
        """Keep a model in memory for a job, until `free`; False if it is not there."""
        with self._lock:
            if ref not in self._models:
                return False
            self._models[ref] = self._models.pop(ref)
            self._used[job_id] = ref
            return True

    def free(self, job_id: str) -> None:
        """The job has ended. Unknown ones are ignored: it may never have got as far."""
        with self._lock:
            ref = self._used.pop(job_id, None)
            if ref in self._models:
                self._models[ref] = self._models.pop(ref)

    def in_use(self, ref: str) -> bool:
        """Whether a job uses it."""
        with self._lock:
            return ref in self._used.values()

    def fits_alone(self, memory_bytes: int) -> bool:
        """Whether a model of that size can ever be in memory."""
        return self._budget_bytes is None or memory_bytes <= self._budget_bytes

    def fits(self, memory_bytes: int, *, evicting: bool) -> bool:
        """Whether there is room now; with `evicting`, after all that no job uses has gone."""
        with self._lock:
            used = set(self._used.values())
            return self._within(
                memory_bytes
                + sum(each.memory_bytes for ref, each in self._models.items() if not evicting or ref in used)
            )

    def make_room(self, memory_bytes: int) -> list[Resident] | None:
        """Evicts what no job uses, the longest unused first, until so much fits; returns what went. None, and nothing
        goes, if it does not fit beside what jobs use.

        What fits then still fits when the one thread that loads adds it: nobody else does.
        """
        gone = []
        with self._lock:
            used = set(self._used.values())
            kept_bytes = sum(each.memory_bytes for ref, each in self._models.items() if ref in used)
            if not self._within(memory_bytes + kept_bytes):
                return None
            for ref in [ref for ref in self._models if ref not in used]:
                if self._within(memory_bytes + sum(each.memory_bytes for each in self._models.values())):
                    break
                gone.append(self._models.pop(ref))
        return gone

    def add(self, resident: Resident) -> None:
        """Take a model in; it counts as just used."""
        with self._lock:
            self._models.pop(resident.info.ref, None)
            self._models[resident.info.ref] = resident

    def drop(self, ref: str) -> Resident | None:
        """Let a model go, used or not; None if it was not there."""
        with self._lock:
            return self._models.pop(ref, None)

    def _within(self, memory_bytes: int) -> bool:
        return self._budget_bytes is None or memory_bytes <= self._budget_bytes
