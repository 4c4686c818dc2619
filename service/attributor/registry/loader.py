"""Turns a verified bundle into a torch module: imports its code by path, builds it, loads its weights.

Runs the bundle's code, which is the operator's trusted code. Knows nothing of requests.
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from attributor.errors import BundleError
from attributor.jobs.model import ModelInfo
from attributor.registry.catalog import Bundle
from attributor.registry.files import read_verified

#: The file with the state of the module, if the bundle has one.
WEIGHTS = "weights.safetensors"


def load_module(bundle: Bundle) -> nn.Module:
    """The bundle's module with its weights, on the CPU, in eval mode, its parameters frozen.

    Raises BundleError if a file changed since the manifest was sealed, the code raises, the entry is no function
    that returns an nn.Module, or the weights do not fit it exactly.
    """
    module_name, _, function_name = bundle.manifest.entry.partition(":")
    code = _import(bundle, f"{module_name}.py")
    build = getattr(code, function_name, None)
    if not callable(build):
        raise BundleError(f"{module_name}.py has no function {function_name}().", field="entry")
    module = _build(build, bundle.manifest.entry)
    if WEIGHTS in bundle.manifest.files:
        _load_weights(module, read_verified(bundle.folder, WEIGHTS, bundle.manifest.files[WEIGHTS]))
    return module.eval().requires_grad_(False)


def import_name(info: ModelInfo) -> str:
    """The name under which a bundle's code is imported: no two bundles share one, and it holds no dot."""
    return f"attributor_bundle_{info.name}_{info.version.replace('.', '_')}"


def _import(bundle: Bundle, file_name: str) -> ModuleType:
    """Executes exactly the bytes that were verified: never a cached .pyc beside them, which no hash covers."""
    source = read_verified(bundle.folder, file_name, bundle.manifest.files[file_name])
    path = bundle.folder / file_name
    name = import_name(bundle.info)
    module = _empty_module(name, path)
    # Before executing: a dataclass with postponed annotations looks its own module up in there.
    sys.modules[name] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the bundle's code
    except Exception as error:
        del sys.modules[name]
        raise BundleError(f"{file_name} raised {describe(error)}.", field="entry") from error
    return module


def _empty_module(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise BundleError(f"{path.name} is not Python source.", field="entry")
    return importlib.util.module_from_spec(spec)


def _build(build: Callable[[], object], entry: str) -> nn.Module:
    try:
        module = build()
    except Exception as error:
        raise BundleError(f"{entry}() raised {describe(error)}.", field="entry") from error
    if not isinstance(module, nn.Module):
        raise BundleError(f"{entry}() returned {type(module).__name__}, not a torch.nn.Module.", field="entry")
    return module


def _load_weights(module: nn.Module, data: bytes) -> None:
    try:
        module.load_state_dict(safetensors.torch.load(data), strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise BundleError(f"{WEIGHTS} does not fit the model: {describe(error)}.", field=f"files.{WEIGHTS}") from error


def describe(error: Exception) -> str:
    """An exception of foreign code in one line."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
