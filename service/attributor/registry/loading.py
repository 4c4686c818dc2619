"""One bundle into memory: the first time with its proof, again without, when it was unloaded in between. And out.

Knows torch through the loader and the runtime. Knows no other model, no budget, no requests.
"""

import gc
import threading
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import nn

from attributor.errors import BundleError
from attributor.jobs.model import Framework, ModelInfo, ModelReport, Readiness, Tensors
from attributor.registry.catalog import Bundle
from attributor.registry.cheaper import cheaper
from attributor.registry.foreign import describe, shortened
from attributor.registry.loader import LoadedBundle, load_bundle, unload
from attributor.registry.proof.golden import check_golden, read_golden
from attributor.registry.proof.pace import measure_pace, measured_lengths, pass_bounds
from attributor.registry.proof.probe import PASSED, layers, prove
from attributor.registry.proof.trial import DEFAULT_LIMITS, TrialLimits, try_out
from attributor.registry.reference import read_references
from attributor.registry.residents import Resident
from attributor.registry.sources import readers
from attributor.runtimes.sizing import Measured, PassSizes
from attributor.runtimes.torch_runtime import TorchModel
from attributor.runtimes.transforms.choosing import Transformed

#: The names of the checks of the golden example and of the reference set in a report.
_GOLDEN_CHECK = "golden"
_REFERENCE_CHECK = "reference_set"

#: Of the layers in a report, which a file names: longer names are left out, and so are those beyond so many. Ours: ten
#: times what large nets have, so that a report stays a document of some megabytes at most.
_LAYER_CHARACTERS, _MOST_LAYERS = 200, 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where models run: a torch device, and the most points of one pass there (None: as measured); and whether programs
    of torch.export, whose loading can run code, are trusted. `trial`: what a file that is not trusted may use before it
    is loaded."""

    device: str
    max_points: int | None = None
    trial: TrialLimits = DEFAULT_LIMITS
    allow_torch_export: bool = False


@dataclass(slots=True)
class _Findings:
    """What is found on the way, also where it ends in a failure."""

    checks: dict[str, str] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)
    memory_bytes: int = 0
    measured: Measured | None = None
    transforms: tuple[str, ...] = ()
    looks: bool = True


def load_first(bundle: Bundle, place: Place) -> tuple[Resident | None, ModelReport]:
    """Loads a bundle and puts it to the proof; None where it must not serve, for the reason in the report.

    Never raises for what the bundle does.
    """
    found = _Findings()
    resident: Resident | None = None
    reason: str | None = None
    try:
        resident = _proved(bundle, place, found)
    except BundleError as error:
        reason = error.detail
    except SystemExit as error:
        reason = f"Loading failed: its code tried to end the process ({describe(error)})."
    except BaseException as error:  # foreign code: whatever it raises fails this model, and this one only
        _require_foreign(error)
        reason = f"Loading failed: {describe(error)}."
    return resident, _report(bundle.info, reason, found)


def load_again(bundle: Bundle, place: Place, report: ModelReport) -> Resident:
    """Loads a bundle that has passed in this process: its hashes are verified again; its proof, and what was measured
    of it, hold for equal files.

    Raises BundleError with the reason why it cannot be loaded any more.
    """
    try:
        references = read_references(bundle.folder, bundle.manifest)
        loaded = load_bundle(bundle, allow_torch_export=place.allow_torch_export)
        loaded.module.to(place.device)
        cheap = cheaper(loaded.module, bundle.info, references, torch.device(place.device))
        model = _model(loaded, bundle.info, place, _measured(bundle.info, report), cheap)
        return Resident(model, bundle.info, references, _memory_bytes(loaded, bundle))
    except BundleError as error:
        raise BundleError(shortened(error.detail), field=error.field) from error
    except OSError as error:
        raise BundleError(f"{error.filename or bundle.folder.name} cannot be read: {error.strerror}.") from error
    except BaseException as error:
        _require_foreign(error)
        raise BundleError(shortened(f"Loading failed: {describe(error)}.")) from error


def _require_foreign(error: BaseException) -> None:
    """Raises it again if a person asked the process to end, which Python tells its main thread alone."""
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error


def forget_code(info: ModelInfo) -> None:
    """After the last use of a model: takes its code out of Python's modules, and gives its memory back."""
    unload(info)
    gc.collect()  # modules may hold themselves in a circle
    torch.cuda.empty_cache()  # does nothing where no GPU is in use


def _proved(bundle: Bundle, place: Place, found: _Findings) -> Resident:
    """Raises BundleError with the reason why it must not serve, and whatever the bundle's code raises."""
    info = bundle.info
    if info.framework is Framework.ONNX:  # fit for files that nobody trusts: not in this process first
        trial = try_out(bundle, place.trial)
        found.checks.update(trial.checks)
        if trial.problem is not None:
            raise BundleError(trial.problem)
    references = read_references(bundle.folder, bundle.manifest)
    if references:
        found.checks[_REFERENCE_CHECK] = PASSED
    loaded = load_bundle(bundle, allow_torch_export=place.allow_torch_export)
    loaded.module.to(place.device)
    found.layers.update(layers(loaded.module))
    found.memory_bytes = _memory_bytes(loaded, bundle)
    proof = prove(loaded, info, references, place.device)
    found.checks.update(proof.checks)
    if proof.problem is not None:
        raise BundleError(proof.problem)
    cheap = cheaper(loaded.module, info, references, torch.device(place.device))
    found.transforms = cheap.applied if cheap else ()
    found.measured = _pace(cheap.module if cheap else loaded.module, info, references, place)
    model = _model(loaded, info, place, found.measured, cheap)
    found.looks = model.looks
    sources = readers(bundle.folder, bundle.manifest)  # also without an example: a broken tokenizer must not serve
    if (data := read_golden(bundle)) is not None:
        problem = check_golden(model, info, data, sources)
        found.checks[_GOLDEN_CHECK] = problem or PASSED
        if problem is not None:
            raise BundleError(problem)
    return Resident(model, info, references, found.memory_bytes)


def _pace(module: nn.Module, info: ModelInfo, references: Tensors, place: Place) -> Measured:
    """Raises BundleError where not one point fits the device."""
    device = torch.device(place.device)
    try:
        return measure_pace(module, info, references, device, pass_bounds(device, place.max_points))
    except MemoryError as error:
        raise BundleError(f"One evaluation takes more memory than the device has left: {describe(error)}.") from error


def _model(
    loaded: LoadedBundle, info: ModelInfo, place: Place, measured: Measured, cheap: Transformed | None
) -> TorchModel:
    sizes = PassSizes(measured, pass_bounds(torch.device(place.device), place.max_points))
    return TorchModel(loaded.module, info, place.device, sizes, loaded.paths, cheap)


def _memory_bytes(loaded: LoadedBundle, bundle: Bundle) -> int:
    """Of parameters and buffers. Where there are none (a graph that onnxruntime runs): of the bundle's files, which is
    about what such a session holds."""
    return _tensor_bytes(loaded.module) or sum(record.size_bytes for record in bundle.manifest.files.values())


def _tensor_bytes(module: nn.Module) -> int:
    return sum(each.numel() * each.element_size() for each in (*module.parameters(), *module.buffers()))


def _report(info: ModelInfo, reason: str | None, found: _Findings) -> ModelReport:
    listed = dict(islice(((k, v) for k, v in found.layers.items() if len(k) <= _LAYER_CHARACTERS), _MOST_LAYERS))
    return ModelReport(
        ref=info.ref,
        digest=info.digest,
        readiness=Readiness.READY if reason is None else Readiness.FAILED,
        reason=reason and shortened(reason),
        layers=tuple(listed),
        checks={name: shortened(text) for name, text in found.checks.items()},
        reported_at=time.time(),
        layer_types=tuple(listed.values()),
        loaded=reason is None,
        memory_bytes=found.memory_bytes,
        transforms=found.transforms,
        looks=found.looks,
        **_figures(found.measured),
    )


def _figures(measured: Measured | None) -> dict[str, Any]:
    """What was measured, as a report says it."""
    if measured is None:
        return {}
    return {
        "seconds_per_evaluation": measured.seconds_per_point,
        "seconds_per_forward": measured.seconds_per_forward,
        "points_per_pass": measured.points,
        "bytes_per_point": measured.bytes_per_point,
    }


def _measured(info: ModelInfo, report: ModelReport) -> Measured:
    """What a report of a model that has passed says of its pace."""
    if report.points_per_pass is None or report.seconds_per_evaluation is None or report.seconds_per_forward is None:
        raise RuntimeError(f"Model {info.ref} has passed without being measured. This is a bug.")
    return Measured(
        report.points_per_pass,
        report.seconds_per_evaluation,
        report.seconds_per_forward,
        report.bytes_per_point,
        measured_lengths(info),
    )
