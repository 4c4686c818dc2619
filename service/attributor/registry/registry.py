"""The models of a worker: proven once, in memory within a budget, handed out only if they passed.

A model that fails keeps its reason and harms no other. Knows no requests, and nothing of when a model is wanted.
"""

import logging
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from attributor.errors import BundleError, ModelNotReady
from attributor.jobs.model import ModelInfo, ModelReport, Readiness, Tensors
from attributor.model_port import GradientModel
from attributor.registry.catalog import Bundle, FolderCatalog
from attributor.registry.loading import Place, forget_code, load_again, load_first
from attributor.registry.proof.trial import DEFAULT_LIMITS, TrialLimits
from attributor.registry.residents import Resident, Residents

_log = logging.getLogger(__name__)


class Registry:
    """ModelProvider over bundles, all on one device. `memory_bytes`: the most that models in memory may take together.
    `max_points`: the most points of a pass; None: as many as were measured best.

    One thread loads; any may ask.
    """

    def __init__(
        self,
        *,
        device: str = "cpu",
        max_points: int | None = None,
        memory_bytes: int | None = None,
        allow_torch_export: bool = False,
        trial: TrialLimits = DEFAULT_LIMITS,
    ) -> None:
        self._place = Place(device, max_points, trial, allow_torch_export=allow_torch_export)
        self._memory_bytes = memory_bytes
        self._residents = Residents(memory_bytes)
        #: What was found of each model, and the bundle that it was found of, unless that could not be read.
        self._known: dict[str, tuple[ModelReport, Bundle | None]] = {}

    def load_all(self, catalog: FolderCatalog) -> list[ModelReport]:
        """Loads every bundle; one report each, also for those that the catalog found broken (without a digest)."""
        reports = [self.load(catalog.bundle(info.ref)) for info in catalog.all()]
        return reports + [self._broken(ref, reason) for ref, reason in catalog.problems.items()]

    def load(self, bundle: Bundle, *, evicting: bool = True) -> ModelReport:
        """Loads one bundle and proves it. Never raises for what the bundle does; the report says why it failed.

        It stays in memory if there is room; with `evicting`, what no job uses makes room for it.
        """
        info = bundle.info
        self.forget(info.ref)
        resident, report = load_first(bundle, self._place)
        if resident is not None and not self._residents.fits_alone(report.memory_bytes):
            resident, report = None, _failed(report, self._too_large(report.memory_bytes))
        if resident is not None and self._has_made_room(report.memory_bytes, evicting=evicting):
            self._residents.add(resident)
        else:
            resident, report = None, replace(report, loaded=False)
            forget_code(info)
        self._known[info.ref] = report, bundle
        return report

    def load_again(self, ref: str) -> ModelReport:
        """Brings a model that has passed back into memory; what no job uses makes room. The report may say FAILED; it
        says that the model is not loaded, too, where jobs took what would have made room since `has_room` was asked.
        """
        report, bundle = self._known[ref]
        if bundle is None or report.readiness is not Readiness.READY:
            return report
        if not self._has_made_room(report.memory_bytes, evicting=True):
            return report
        try:
            self._residents.add(load_again(bundle, self._place, report))
            report = replace(report, loaded=True)
        except BundleError as error:
            report = _failed(report, f"It passed, and could not be loaded again: {error.detail}")
            forget_code(bundle.info)
        self._known[ref] = report, bundle
        return report

    def forget(self, ref: str) -> None:
        """Unloads a model, and forgets what was found of it."""
        _, bundle = self._known.pop(ref, (None, None))
        if self._residents.drop(ref) is not None and bundle is not None:
            forget_code(bundle.info)

    def report(self, ref: str) -> ModelReport | None:
        """What was found of a model; None if it was never loaded, or forgotten."""
        report, _ = self._known.get(ref, (None, None))
        return report

    def use(self, job_id: str, ref: str) -> bool:
        """Keep a model in memory for a job, until `free`; False if it is not there."""
        return self._residents.use(job_id, ref)

    def free(self, job_id: str) -> None:
        """The job has ended."""
        self._residents.free(job_id)

    def in_use(self, ref: str) -> bool:
        """Whether a job uses it."""
        return self._residents.in_use(ref)

    def in_memory(self, ref: str) -> bool:
        """Whether it is there to run."""
        return self._residents.get(ref) is not None

    @property
    def resident_bytes(self) -> int:
        """Of the parameters and buffers of all models in memory."""
        return self._residents.total_bytes

    @property
    def n_known(self) -> int:
        """Models of which something was found: those that passed and those that failed."""
        return len(self._known)

    def has_room(self, ref: str) -> bool:
        """Whether a proven model fits beside those that jobs use."""
        report, _ = self._known[ref]
        return self._residents.fits(report.memory_bytes, evicting=True)

    def get(self, ref: str, digest: str) -> GradientModel:
        """The model `name@version`. Raises ModelNotReady if it is not in memory, failed, or has another digest."""
        info = self.info(ref)
        if info.digest != digest:
            raise ModelNotReady(
                f"Model {ref} is loaded from another manifest (digest {info.digest[:12]}) than was asked for "
                f"({digest[:12]}): the bundle changed. Send the request again."
            )
        return self._resident(ref).model

    def info(self, ref: str) -> ModelInfo:
        """The description that it was proven by, in memory or not. Raises ModelNotReady if it failed or is unknown."""
        report, bundle = self._known.get(ref, (None, None))
        if report is not None and report.reason is not None:
            raise ModelNotReady(f"Model {ref} failed its proof at load: {report.reason}")
        if bundle is None:
            raise ModelNotReady(f"Model {ref} is not loaded.")
        return bundle.info

    def reference_set(self, ref: str) -> Tensors:
        """The bundle's reference set, read-only: per input, shape (count, *input shape); empty without one.

        Raises ModelNotReady if the model is not in memory or failed.
        """
        self.info(ref)
        return self._resident(ref).references

    def _resident(self, ref: str) -> Resident:
        resident = self._residents.get(ref)
        if resident is None:
            raise ModelNotReady(f"Model {ref} is not in memory.")
        return resident

    def _has_made_room(self, memory_bytes: int, *, evicting: bool) -> bool:
        """Whether so much fits now, after what no job uses has gone if it must."""
        if not evicting:
            return self._residents.fits(memory_bytes, evicting=False)
        evicted = self._residents.make_room(memory_bytes)
        gone = [resident.info for resident in evicted or ()]
        fits = evicted is not None
        del evicted  # the last references to modules, whose memory is given back below
        for info in gone:
            _log.info("model %s was unloaded: others need its memory", info.ref)
            report, bundle = self._known[info.ref]
            self._known[info.ref] = replace(report, loaded=False), bundle
            forget_code(info)
        return fits

    def _too_large(self, memory_bytes: int) -> str:
        return (
            f"It needs {memory_bytes} bytes of memory; all models together may take {self._memory_bytes} "
            "(worker.model_memory_bytes)."
        )

    def _broken(self, ref: str, reason: str) -> ModelReport:
        report = ModelReport(ref, "", Readiness.FAILED, reason, (), {}, time.time(), loaded=False)
        self._known[ref] = report, None
        return report


def check_bundles(
    root: Path, refs: Collection[str] | None = None, *, allow_torch_export: bool = False
) -> list[ModelReport]:
    """Verifies, loads and proves bundles under `root`, golden examples too: what a worker would find. One at a time.

    `refs`: of these models or versions (`name`, `name@version`, `name@alias`) only; a bare name is all of its versions.
    Raises BundleError if `root` is not a folder, UnknownModel and UnknownVersion for a ref of none.
    """
    catalog = FolderCatalog(root)
    registry = Registry(memory_bytes=None, allow_torch_export=allow_torch_export)
    wanted = None if refs is None else _wanted(catalog, refs)
    reports = []
    for info in catalog.all():
        if wanted is None or info.ref in wanted:
            reports.append(registry.load(catalog.bundle(info.ref)))
            registry.forget(info.ref)
    for ref, problem in catalog.problems.items():
        if wanted is None or ref in wanted:
            reports.append(ModelReport(ref, "", Readiness.FAILED, problem, (), {}, time.time(), loaded=False))
    return reports


def _wanted(catalog: FolderCatalog, refs: Collection[str]) -> set[str]:
    everything = [*(info.ref for info in catalog.all()), *catalog.problems]
    wanted: set[str] = set()
    for ref in refs:
        named = {each for each in everything if each == ref or each.partition("@")[0] == ref}
        wanted |= named or {catalog.get(ref).ref}
    return wanted


def _failed(report: ModelReport, reason: str) -> ModelReport:
    return replace(report, readiness=Readiness.FAILED, reason=reason, loaded=False)
