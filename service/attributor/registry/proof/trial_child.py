"""The process of a trial: `python -m attributor.registry.proof.trial_child FOLDER DIGEST BYTES SECONDS`.

Binds its own memory and time, then loads the bundle and proves it, as a worker would after it; answers by JSON.
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
from attributor.ports import SourceReader
from attributor.registry.catalog import Bundle, open_bundle
from attributor.registry.foreign import describe, shortened
from attributor.registry.formats.onnx_graph import external_data, read_graph
from attributor.registry.formats.onnx_session import ROWS_OF_A_RUN
from attributor.registry.loader import load_bundle
from attributor.registry.proof.golden import golden_example, read_golden
from attributor.registry.proof.parity import BATCHES, OnnxRuntimeReference, check_gradient, check_values
from attributor.registry.proof.probe import PASSED, prove
from attributor.registry.proof.probe_rows import most_positions, probe_rows
from attributor.registry.reference import read_references
from attributor.registry.sources import readers

#: Of all that its libraries say, which is kept in a file. Ours: no more than a log should ever get of one model.
_MOST_SAID_BYTES = 2**20


def main() -> None:
    """Writes the answer to standard output, and nothing else."""
    folder, digest, memory_bytes, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    # Libraries print where they please: what they say goes to the log.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _bind(memory_bytes, seconds)
    torch.set_num_threads(1)
    checks: dict[str, str] = {}
    try:
        problem = _tried(_opened(folder, digest), checks)
    except BundleError as error:
        problem = error.detail
    except MemoryError:
        problem = "The file wants more memory than a trial may use (worker.trial_memory_bytes)."
    except Exception as error:  # whatever a hostile file makes torch or onnx say
        problem = f"The file cannot be run: {describe(error)}."
    found = {name: shortened(text) for name, text in checks.items()}
    json.dump({"checks": found, "problem": problem and shortened(problem)}, answer)
    answer.flush()


def _bind(memory_bytes: int, seconds: float) -> None:
    """What this process may use from here on."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # It writes no file but that of its errors; a pipe, which the answer goes through, is no file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_SAID_BYTES, _MOST_SAID_BYTES))


def _opened(folder: Path, digest: str) -> Bundle:
    """The bundle that was asked about: a verdict on other files, exchanged in the meantime, would be worth nothing."""
    bundle = open_bundle(folder)
    if bundle.info.digest != digest:
        raise BundleError("The bundle changed while it was being loaded, so it was not tried; load it again.")
    return bundle


def _tried(bundle: Bundle, checks: dict[str, str]) -> str | None:
    """Why it must not serve; what passed is added to `checks`."""
    info = bundle.info
    loaded = load_bundle(bundle)
    checks["imported"] = PASSED
    references = read_references(bundle.folder, bundle.manifest)
    sources = readers(bundle.folder, bundle.manifest)  # also unused: the worker reads them next
    if info.gradients:
        graph = read_graph(bundle)
        reference = OnnxRuntimeReference(graph, external_data(bundle))
        batches = list(_batches(bundle, references, sources))
        checks["onnxruntime"] = check_values(loaded.module, reference, graph, batches)
        rows = dict(zip([spec.name for spec in info.inputs], batches[0], strict=True))
        checks["finite_differences"] = check_gradient(loaded.module, info, rows)
    else:
        with torch.no_grad():
            for n_rows in ROWS_OF_A_RUN:
                loaded.module(*_in_order(info, probe_rows(info, references, n_rows, most_positions(info))))
    return prove(loaded, info, references).problem


def _batches(bundle: Bundle, references: Tensors, sources: Mapping[str, SourceReader]) -> Iterator[Sequence[Tensor]]:
    """Rows in the order of the manifest: random ones, of two lengths where these vary, and the golden example."""
    info = bundle.info
    most = most_positions(info)
    for positions in (None,) if most is None else (most, max(1, most // 2)):
        for n_rows in BATCHES:
            yield _in_order(info, probe_rows(info, references, n_rows, positions))
    if (data := read_golden(bundle)) is not None:
        example = golden_example(info, data, sources)
        for n_rows in BATCHES:
            yield _in_order(info, {k: torch.from_numpy(np.stack([v] * n_rows)) for k, v in example.items()})


def _in_order(info: ModelInfo, rows: Mapping[str, Tensor]) -> Sequence[Tensor]:
    return [rows[spec.name] for spec in info.inputs]


if __name__ == "__main__":
    main()
