"""The process of a trial: `python -m attributor.registry.trial_child FOLDER BYTES SECONDS`; an answer as JSON.

Binds its own memory and time, then loads the bundle and proves it, as a worker would after it.
"""

import json
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from attributor.errors import BundleError
from attributor.jobs.model import Framework
from attributor.registry.catalog import Bundle, open_bundle
from attributor.registry.foreign import describe
from attributor.registry.formats.example_rows import example_rows
from attributor.registry.formats.onnx_graph import external_data, read_graph
from attributor.registry.loader import load_bundle
from attributor.registry.parity import BATCHES, OnnxRuntimeReference, check_gradient, check_values
from attributor.registry.probe import prove
from attributor.registry.reference import read_references


def main() -> None:
    """Writes the answer to standard output, and nothing else."""
    folder, memory_bytes, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    # Libraries print where they please: what they say goes to the log.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it has nothing to write
    torch.set_num_threads(1)
    checks: dict[str, str] = {}
    try:
        problem = _tried(open_bundle(folder), checks)
    except BundleError as error:
        problem = error.detail
    except MemoryError:
        problem = "The file wants more memory than a trial may use (worker.trial_memory_bytes)."
    except Exception as error:  # whatever a hostile file makes torch or onnx say
        problem = f"The file cannot be run: {describe(error)}."
    json.dump({"checks": checks, "problem": problem}, answer)
    answer.flush()


def _tried(bundle: Bundle, checks: dict[str, str]) -> str | None:
    """Why it must not serve; what passed is added to `checks`."""
    info = bundle.info
    loaded = load_bundle(bundle)
    checks["imported"] = "passed"
    if info.framework is Framework.ONNX and info.gradients:
        graph = read_graph(bundle)
        reference = OnnxRuntimeReference(graph, external_data(bundle))
        batches = [example_rows(info, n_rows) for n_rows in BATCHES]
        checks["onnxruntime"] = check_values(loaded.module, reference, graph, batches)
        rows: Mapping[str, torch.Tensor] = dict(zip([spec.name for spec in info.inputs], batches[0], strict=True))
        checks["finite_differences"] = check_gradient(loaded.module, info, rows)
    references = read_references(bundle.folder, bundle.manifest)
    proof = prove(loaded, info, references)
    return proof.problem


if __name__ == "__main__":
    main()
