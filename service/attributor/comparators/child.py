"""The comparators' process: reads one request, loads its own copy of the bundle, computes, writes one answer, ends.

Standard output carries the answer and nothing else: what libraries print goes to standard error.
"""

import os
import sys

import torch

from attributor.comparators.explain import Loaded, explain
from attributor.comparators.request import Request, unpack
from attributor.engine.faults import failure
from attributor.errors import ModelNotReady
from attributor.jobs.codec import encode
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
    module = load_module(bundle).to(request.device)
    reference = read_references(bundle.folder, bundle.manifest)
    return Loaded(module, bundle.info, reference, torch.device(request.device))


def main() -> None:
    """Standard input to standard output."""
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        out.write(encode(answer(unpack(sys.stdin.buffer.read()))))


if __name__ == "__main__":
    main()
