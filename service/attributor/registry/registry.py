"""The loaded models of a worker: loads each bundle, puts it to the proof, and hands it out only if it passed.

A model that fails keeps its reason and harms no other. Knows torch through the runtime; knows no requests.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attributor.errors import BundleError, ModelNotReady
from attributor.jobs.model import ModelInfo, ModelReport, Readiness, Tensors
from attributor.ports import GradientModel
from attributor.registry.catalog import Bundle, FolderCatalog
from attributor.registry.files import read_verified
from attributor.registry.golden import GOLDEN, check_golden
from attributor.registry.loader import describe, load_bundle
from attributor.registry.probe import PASSED, layers, prove
from attributor.registry.reference import read_references
from attributor.runtimes.torch_runtime import DEFAULT_MAX_POINTS, TorchModel

#: The names of the checks of the golden example and of the reference set in a report.
_GOLDEN_CHECK = "golden"
_REFERENCE_CHECK = "reference_set"


@dataclass(frozen=True, slots=True)
class _Served:
    """A model that passed. `references` is read once, at load: what is wrong with it must not show in a job."""

    model: GradientModel
    info: ModelInfo
    references: Tensors


class Registry:
    """ModelProvider over bundles, all on one device."""

    def __init__(self, *, device: str = "cpu", max_points: int = DEFAULT_MAX_POINTS) -> None:
        self._device = device
        self._max_points = max_points
        self._served: dict[str, _Served] = {}
        self._failures: dict[str, str] = {}

    def load_all(self, catalog: FolderCatalog) -> list[ModelReport]:
        """Loads every bundle; one report each, also for those that the catalog found broken (without a digest)."""
        reports = [self.load(catalog.bundle(info.ref)) for info in catalog.all()]
        return reports + [self._broken(ref, reason) for ref, reason in catalog.problems.items()]

    def load(self, bundle: Bundle) -> ModelReport:
        """Loads one bundle and proves it. Never raises for what the bundle does; the report says why it failed."""
        info = bundle.info
        self._served.pop(info.ref, None)
        self._failures.pop(info.ref, None)
        checks: dict[str, str] = {}
        found: dict[str, str] = {}
        try:
            served = self._proved(bundle, checks, found)
        except BundleError as error:
            reason = error.detail
        except Exception as error:  # foreign code: whatever it raises fails this model, and this one only
            reason = f"Loading failed: {describe(error)}."
        else:
            self._served[info.ref] = served
            return _report(info.ref, info.digest, None, found, checks)
        self._failures[info.ref] = reason
        return _report(info.ref, info.digest, reason, found, checks)

    def get(self, ref: str, digest: str) -> GradientModel:
        """The model `name@version`. Raises ModelNotReady if it is not loaded, failed, or has another digest."""
        info = self.info(ref)
        if info.digest != digest:
            raise ModelNotReady(
                f"Model {ref} is loaded from another manifest (digest {info.digest[:12]}) than was asked for "
                f"({digest[:12]}): the bundle changed. Restart what has the older one."
            )
        return self._served[ref].model

    def info(self, ref: str) -> ModelInfo:
        """The description it was loaded by. Raises ModelNotReady if it is not loaded or failed."""
        return self._serving(ref).info

    def reference_set(self, ref: str) -> Tensors:
        """The bundle's reference set, read-only: per input, shape (count, *input shape); empty without one.

        Raises ModelNotReady if the model is not loaded or failed.
        """
        return self._serving(ref).references

    def _serving(self, ref: str) -> _Served:
        if ref in self._failures:
            raise ModelNotReady(f"Model {ref} failed its proof at load: {self._failures[ref]}")
        if ref not in self._served:
            raise ModelNotReady(f"Model {ref} is not loaded.")
        return self._served[ref]

    def _proved(self, bundle: Bundle, checks: dict[str, str], found: dict[str, str]) -> _Served:
        """The model behind its runtime; what was found on the way stands in `checks` and `found`, also on failure.

        Raises BundleError with the reason why it must not serve, and whatever the bundle's code raises.
        """
        info = bundle.info
        references = read_references(bundle.folder, bundle.manifest)
        if references:
            checks[_REFERENCE_CHECK] = PASSED
        loaded = load_bundle(bundle)
        loaded.module.to(self._device)
        found.update(layers(loaded.module))
        proof = prove(loaded, info, references, self._device)
        checks.update(proof.checks)
        if proof.problem is not None:
            raise BundleError(proof.problem)
        model = TorchModel(loaded.module, info, self._device, self._max_points, loaded.paths)
        if GOLDEN in bundle.manifest.files:
            problem = check_golden(model, info, read_verified(bundle.folder, GOLDEN, bundle.manifest.files[GOLDEN]))
            checks[_GOLDEN_CHECK] = problem or PASSED
            if problem is not None:
                raise BundleError(problem)
        return _Served(model, info, references)

    def _broken(self, ref: str, reason: str) -> ModelReport:
        self._failures[ref] = reason
        return _report(ref, "", reason, {}, {})


def check_bundles(root: Path) -> list[ModelReport]:
    """Verifies, loads and proves every bundle under `root`, its golden example too: what a worker would find.

    Raises BundleError only if `root` is not a folder.
    """
    return Registry().load_all(FolderCatalog(root))


def _report(
    ref: str, digest: str, reason: str | None, found: Mapping[str, str], checks: Mapping[str, str]
) -> ModelReport:
    """`found`: the class of each layer, by its name."""
    readiness = Readiness.READY if reason is None else Readiness.FAILED
    names, types = tuple(found), tuple(found.values())
    return ModelReport(ref, digest, readiness, reason, names, dict(checks), time.time(), types)
