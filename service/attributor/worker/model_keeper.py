"""The seam between the worker and the models that it serves: what it asks of whoever loads them. Knows no adapter."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from attributor.jobs.job import JobSpec
from attributor.jobs.model import ModelReport


class ModelKeeper(Protocol):
    """The models of a worker through their lives: proven, in memory or not, drained when their bundles are removed.

    `attend` and `rescan` block, in one thread at a time; they return the reports that changed, None for a model that is
    gone. The others return at once.
    """

    def hold(self, job_id: str, spec: JobSpec) -> bool:
        """Keep the model of a job in memory (of a comparator's job: have it proven) until `release`. False if it is not
        there yet: ask again after the next `due`. Raises ModelNotReady with the reason if it never will be."""

    def release(self, job_id: str) -> None:
        """The job has ended, or is not wanted any more."""

    def due(self, wanted: Iterable[JobSpec]) -> str | None:
        """Which model to attend to next, as `name@version`; None if nothing can be done now. Those that jobs wait for
        come first, in the order of `wanted`: first what has to be loaded again, then what is to be proven. A proof that
        has begun is not interrupted: whoever wants another model, also one that only has to be loaded, waits for it."""

    def starting(self, ref: str) -> ModelReport | None:
        """What to report when `attend` begins, if anything."""

    def attend(self, ref: str) -> Mapping[str, ModelReport | None]:
        """Do what is due for a model: prove it, load it again, or unload it. Never raises for what its bundle does."""

    def rescan(self) -> Mapping[str, ModelReport | None]:
        """Look for new, changed and removed bundles."""
