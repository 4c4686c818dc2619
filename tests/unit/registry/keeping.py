"""A worker's life with its models, a step at a time, without jobs of its own."""

from dataclasses import replace

import numpy as np
from attributor.jobs.job import JobKind, JobSpec
from attributor.jobs.model import ModelInfo
from attributor.registry.catalog import FolderCatalog
from attributor.registry.keeper import Keeper
from attributor.registry.registry import Registry
from bundles import LINEAR

#: Eight thousand bytes and some.
HEAVY = LINEAR.replace("super().__init__()", "super().__init__(); self.register_buffer('ballast', torch.zeros(2000))")


class Worker:
    """A keeper, and the steps of a worker without jobs of its own."""

    def __init__(self, folder, memory_bytes=None):
        self.catalog = FolderCatalog(folder)
        self.registry = Registry(memory_bytes=memory_bytes)
        self.keeper = Keeper(self.catalog, self.registry, comparators=False)
        self.reports = {}
        self.history = []

    def tell(self, news):
        for ref, report in news.items():
            self.history.append((ref, report and str(report.readiness)))
            self.reports[ref] = report

    def step(self, *wanted: JobSpec) -> str | None:
        due = self.keeper.due(wanted)
        if due is not None:
            self.tell({due: starting} if (starting := self.keeper.starting(due)) else {})
            self.tell(self.keeper.attend(due))
        return due

    def settle(self, *wanted: JobSpec) -> list[str]:
        return list(iter(lambda: self.step(*wanted), None))

    def rescan(self):
        self.tell(self.keeper.rescan())

    def loaded(self) -> set[str]:
        return {ref for ref, report in self.reports.items() if report is not None and report.loaded}

    def job(self, ref: str, **changes) -> JobSpec:
        return job(self.catalog.get(ref), **changes)


def job(info: ModelInfo, **changes) -> JobSpec:
    given = ({"features": np.zeros(2, np.float32)},)
    return replace(JobSpec(JobKind.PREDICTION, info.name, info.version, info.digest, info.inputs, given, ""), **changes)
