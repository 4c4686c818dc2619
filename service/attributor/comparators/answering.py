"""A request to the comparators' process, answered: the bundle's own copy of the model, the methods, failures in words.

Knows bundles and torch; knows no process.
"""

import torch

from attributor.comparators.explain import Loaded, explain
from attributor.comparators.request import Request
from attributor.engine.faults import failure
from attributor.errors import ModelNotReady
from attributor.jobs.job import Failure
from attributor.jobs.result import AttributionResult
from attributor.registry.catalog import open_bundle
from attributor.registry.loader import load_module
from attributor.registry.reference import read_references


def answer(request: Request) -> AttributionResult | Failure:
    """The job's answer; stated errors and those of the model become failures."""
    torch.set_num_threads(request.threads)
    try:
        return explain(_load(request), request.spec)
    except Exception as error:  # whatever ends the job, the client hears of it
        return failure(error)


def _load(request: Request) -> Loaded:
    bundle = open_bundle(request.folder)
    if bundle.info.digest != request.spec.digest:
        raise ModelNotReady(f"The bundle of {request.spec.ref} changed since it was loaded. Restart the worker.")
    module = load_module(bundle, allow_torch_export=request.allow_torch_export).to(request.device)
    reference = read_references(bundle.folder, bundle.manifest)
    return Loaded(module, bundle.info, reference, torch.device(request.device))
