"""The loaded models of a worker: loads each bundle, puts it to the proof, and hands it out only if it passed.

A model that fails keeps its reason and harms no other. Knows torch through the runtime; knows no requests.
"""

import time
from collections.abc import Mapping
from pathlib import Path

from attributor.errors import BundleError, ModelNotReady
from attributor.jobs.model import ModelInfo, ModelReport, Readiness
from attributor.ports import GradientModel
from attributor.registry.catalog import Bundle, FolderCatalog
from attributor.registry.files import read_verified
from attributor.registry.golden import GOLDEN, check_golden
from attributor.registry.loader import describe, load_module
from attributor.registry.probe import PASSED, layers, prove
from attributor.runtimes.torch_runtime import DEFAULT_MAX_POINTS, TorchModel

#: The name of the check of the golden example in a report.
_GOLDEN_CHECK = "golden"


class Registry:
    """ModelProvider over bundles, all on one device."""

    def __init__(self, *, device: str = "cpu", max_points: int = DEFAULT_MAX_POINTS) -> None:
        self._device = device
        self._max_points = max_points
        self._models: dict[str, GradientModel] = {}
        self._infos: dict[str, ModelInfo] = {}
        self._failures: dict[str, str] = {}

    def load_all(self, catalog: FolderCatalog) -> list[ModelReport]:
        """Loads every bundle; one report each, also for those that the catalog found broken (without a digest)."""
        reports = [self.load(catalog.bundle(info.ref)) for info in catalog.all()]
        return reports + [self._broken(ref, reason) for ref, reason in catalog.problems.items()]

    def load(self, bundle: Bundle) -> ModelReport:
        """Loads one bundle and proves it. Never raises for what the bundle does; the report says why it failed."""
        info = bundle.info
        for known in (self._models, self._infos, self._failures):
            known.pop(info.ref, None)
        checks: Mapping[str, str] = {}
        names: tuple[str, ...] = ()
        try:
            module = load_module(bundle)
            names = layers(module)
            model = TorchModel(module, info, self._device, self._max_points)
            proof = prove(module, info, self._device)
            checks, reason = proof.checks, proof.problem
            if reason is None and GOLDEN in bundle.manifest.files:
                reason = check_golden(model, info, read_verified(bundle.folder, GOLDEN, bundle.manifest.files[GOLDEN]))
                checks = {**checks, _GOLDEN_CHECK: reason or PASSED}
        except BundleError as error:
            reason = error.detail
        except Exception as error:  # foreign code: whatever it raises fails this model, and this one only
            reason = f"Loading failed: {describe(error)}."
        if reason is None:
            self._models[info.ref] = model
            self._infos[info.ref] = info
        else:
            self._failures[info.ref] = reason
        return _report(info.ref, info.digest, reason, names, checks)

    def get(self, ref: str, digest: str) -> GradientModel:
        """The model `name@version`. Raises ModelNotReady if it is not loaded, failed, or has another digest."""
        info = self.info(ref)
        if info.digest != digest:
            raise ModelNotReady(
                f"Model {ref} is loaded from another manifest (digest {info.digest[:12]}) than was asked for "
                f"({digest[:12]}): the bundle changed. Restart what has the older one."
            )
        return self._models[ref]

    def info(self, ref: str) -> ModelInfo:
        """The description it was loaded by. Raises ModelNotReady if it is not loaded or failed."""
        if ref in self._failures:
            raise ModelNotReady(f"Model {ref} failed its proof at load: {self._failures[ref]}")
        if ref not in self._infos:
            raise ModelNotReady(f"Model {ref} is not loaded.")
        return self._infos[ref]

    def _broken(self, ref: str, reason: str) -> ModelReport:
        self._failures[ref] = reason
        return _report(ref, "", reason, (), {})


def check_bundles(root: Path) -> list[ModelReport]:
    """Verifies, loads and proves every bundle under `root`, its golden example too: what a worker would find.

    Raises BundleError only if `root` is not a folder.
    """
    return Registry().load_all(FolderCatalog(root))


def _report(
    ref: str, digest: str, reason: str | None, names: tuple[str, ...], checks: Mapping[str, str]
) -> ModelReport:
    readiness = Readiness.READY if reason is None else Readiness.FAILED
    return ModelReport(ref, digest, readiness, reason, names, dict(checks), time.time())
