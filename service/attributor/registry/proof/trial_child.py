"""The process of a trial: `python -m attributor.registry.proof.trial_child FOLDER BYTES SECONDS`; an answer as JSON.

Binds its own memory and time, then loads the bundle and proves it, as a worker would after it.
"""

import json
import os
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from attributor.errors import BundleError
from attributor.jobs.model import ModelInfo, Tensors
from attributor.registry.catalog import Bundle, open_bundle
from attributor.registry.files import read_verified
from attributor.registry.foreign import describe
from attributor.registry.formats.onnx_graph import external_data, read_graph
from attributor.registry.loader import load_bundle
from attributor.registry.proof.golden import GOLDEN, golden_example
from attributor.registry.proof.parity import BATCHES, OnnxRuntimeReference, check_gradient, check_values
from attributor.registry.proof.probe import PASSED, prove
from attributor.registry.proof.probe_rows import most_positions, probe_rows
from attributor.registry.reference import read_references
from attributor.registry.sources import readers


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
    checks["imported"] = PASSED
    references = read_references(bundle.folder, bundle.manifest)
    if info.gradients:
        graph = read_graph(bundle)
        reference = OnnxRuntimeReference(graph, external_data(bundle))
        batches = list(_batches(bundle, references))
        checks["onnxruntime"] = check_values(loaded.module, reference, graph, batches)
        rows = dict(zip([spec.name for spec in info.inputs], batches[0], strict=True))
        checks["finite_differences"] = check_gradient(loaded.module, info, rows)
    return prove(loaded, info, references).problem


def _batches(bundle: Bundle, references: Tensors) -> Iterator[Sequence[Tensor]]:
    """Rows in the order of the manifest: random ones, of two lengths where these vary, and the golden example."""
    info = bundle.info
    most = most_positions(info)
    for positions in (None,) if most is None else (most, max(1, most // 2)):
        for n_rows in BATCHES:
            yield _in_order(info, probe_rows(info, references, n_rows, positions))
    if GOLDEN in bundle.manifest.files:
        data = read_verified(bundle.folder, GOLDEN, bundle.manifest.files[GOLDEN])
        example = golden_example(info, data, readers(bundle.folder, bundle.manifest))
        for n_rows in BATCHES:
            yield _in_order(info, {k: torch.from_numpy(np.stack([v] * n_rows)) for k, v in example.items()})


def _in_order(info: ModelInfo, rows: Mapping[str, Tensor]) -> Sequence[Tensor]:
    return [rows[spec.name] for spec in info.inputs]


if __name__ == "__main__":
    main()
