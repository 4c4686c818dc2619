"""Framework torch-export: a program of torch.export (.pt2) as a module whose hooks fire.

Loading such a file can run any code that its maker put into it, which no look at it can rule out: so only where the
operator switched it on. Knows torch and bundles, no settings.
"""

import warnings
from io import BytesIO

import torch
from torch import nn

from attributor.errors import BundleError
from attributor.registry.catalog import Bundle
from attributor.registry.files import read_verified
from attributor.registry.foreign import describe
from attributor.registry.proof.probe_rows import most_positions, probe_rows

#: What a program that was exported for one batch size says when it meets another.
_FIXED_BATCH = (
    "Export it with an example batch of at least 2, and dynamic_shapes that give axis 0 of every input the same "
    'torch.export.Dim("batch"): an example batch of 1 fixes the batch at 1.'
)

#: Two, so that one is not the size of the example that the program was exported with; rows alone are met in the proof.
_BATCHES = (2, 3)


class ExportedProgram(nn.Module):
    """The program's modules under their own names; one tensor per input in, one tensor out."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.network = program

    def forward(self, *inputs: torch.Tensor) -> object:
        """What the program returns; of a structure with one tensor in it, that."""
        found = self.network(*inputs)
        while isinstance(found, tuple | list) and len(found) == 1:
            found = found[0]
        return found


def load(bundle: Bundle, *, allowed: bool) -> nn.Module:
    """The program. `allowed`: whether the operator switched such files on.

    Raises BundleError if not, before the file is opened; if it changed, cannot be loaded, or takes one batch size only.
    """
    name = bundle.manifest.file
    if not allowed:
        raise BundleError(
            "Loading a program of torch.export (.pt2) can run any code that its maker put into it, so it is refused "
            "unless the operator, who trusts every such file, sets worker.allow_torch_export = true "
            "(ATTRIBUTOR_WORKER__ALLOW_TORCH_EXPORT=true in the environment). Or export the model to ONNX, which is "
            "data.",
            field="framework",
        )
    if name is None:
        raise BundleError("A bundle of framework torch-export needs file, the name of its .pt2.", field="file")
    data = read_verified(bundle.folder, name, bundle.manifest.files[name])
    module = ExportedProgram(_unflattened(name, data))
    _require_any_batch(module, bundle)
    return module


def _unflattened(name: str, data: bytes) -> nn.Module:
    try:
        with warnings.catch_warnings():
            # torch's own code, copying what it loaded, uses names that it deprecates.
            warnings.simplefilter("ignore")
            # Not program.module(): hooks on what that makes never fire, so that it would have no layers.
            return torch.export.unflatten(torch.export.load(BytesIO(data)))
    except Exception as error:  # whatever torch finds wrong with a file is not ours to list
        raise BundleError(f"{name} cannot be loaded: {describe(error)}.", field=f"files.{name}") from error


def _require_any_batch(module: nn.Module, bundle: Bundle) -> None:
    for n_rows in _BATCHES:
        try:
            with torch.no_grad():
                rows = probe_rows(bundle.info, {}, n_rows, most_positions(bundle.info))
                module(*rows.values())
        except Exception as error:  # what the program raises is not ours to list
            raise BundleError(
                f"{bundle.manifest.file} raised for a batch of {n_rows}: {describe(error)}. {_FIXED_BATCH}",
                field="file",
            ) from error
