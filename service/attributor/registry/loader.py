"""Turns a verified bundle into a torch module and path objects, each framework by a module of its own in `formats`.

Knows which framework is read by what. Knows nothing of requests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from attributor.errors import BundleError
from attributor.jobs.model import Framework, ModelInfo
from attributor.registry.catalog import Bundle
from attributor.registry.foreign import describe
from attributor.registry.formats import python_code
from attributor.registry.formats.python_code import WEIGHTS
from attributor.runtimes.curves import PathObject

__all__ = ["WEIGHTS", "LoadedBundle", "describe", "load_bundle", "load_module", "unload"]

#: The extra of this package that brings what a library is missing for.
_EXTRAS: Mapping[str, str] = {
    "transformers": "huggingface",
    "onnx": "worker",
    "onnxruntime": "worker",
}


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """What a bundle makes: the module, on the CPU, in eval mode, its parameters frozen, and its path objects.

    The module takes the inputs in the manifest's order and returns one tensor, (rows, *output shape).
    """

    module: nn.Module
    paths: Mapping[str, PathObject] = field(default_factory=dict)


def load_bundle(bundle: Bundle, *, allow_torch_export: bool = False) -> LoadedBundle:
    """The bundle's module with its weights, and its registered paths.

    `allow_torch_export`: whether the operator trusts programs of torch.export, whose loading can run code. Raises
    BundleError if a file changed since the manifest was sealed, or does not make the module that it promises.
    """
    if bundle.info.framework is Framework.TORCH:
        module, paths = python_code.load(bundle)
    else:
        module, paths = _from_files(bundle, allow_torch_export=allow_torch_export), {}
    return LoadedBundle(module.eval().requires_grad_(False), paths)


def load_module(bundle: Bundle, *, allow_torch_export: bool = False) -> nn.Module:
    """The module of `load_bundle` alone."""
    return load_bundle(bundle, allow_torch_export=allow_torch_export).module


def unload(info: ModelInfo) -> None:
    """Forgets what loading left behind outside the module: the bundle's code in Python's table of modules."""
    python_code.unload(info)


def _from_files(bundle: Bundle, *, allow_torch_export: bool) -> nn.Module:
    if bundle.manifest.path_entries:
        raise BundleError("Registered paths are code, which bundles of framework torch alone may have.", field="paths")
    try:
        return _load(bundle, allow_torch_export=allow_torch_export)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS:
            raise
        raise BundleError(
            f"Framework {bundle.info.framework} needs {package}, which is not installed: pip install "
            f"'attributor[{_EXTRAS[package]}]' (in a checkout: pip install -e '.[{_EXTRAS[package]}]').",
            field="framework",
        ) from None


def _load(bundle: Bundle, *, allow_torch_export: bool) -> nn.Module:
    # Imported where needed: transformers alone takes two seconds, and is an extra of its own.
    if bundle.info.framework is Framework.HUGGINGFACE:
        from attributor.registry.formats import huggingface

        return huggingface.load(bundle)
    if bundle.info.framework is Framework.TORCH_EXPORT:
        from attributor.registry.formats import torch_export

        return torch_export.load(bundle, allowed=allow_torch_export)
    if bundle.info.gradients:
        from attributor.registry.formats import onnx_graph

        return onnx_graph.load(bundle)
    from attributor.registry.formats import onnx_session

    return onnx_session.load(bundle)
