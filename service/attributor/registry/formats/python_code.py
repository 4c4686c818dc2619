"""Framework torch: imports a bundle's code by path, builds its module, loads its weights, finds its paths.

Runs the bundle's code, which is the operator's trusted code. Knows nothing of requests.
"""

import importlib.util
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, cast

import safetensors.torch
from safetensors import SafetensorError
from torch import nn

from attributor.errors import BundleError
from attributor.jobs.model import ModelInfo
from attributor.registry.catalog import Bundle
from attributor.registry.files import read_verified
from attributor.registry.foreign import describe
from attributor.runtimes.curves import PathObject

#: The file with the state of the module, if the bundle has one.
WEIGHTS = "weights.safetensors"

#: Of the digest in an import name. Ours: as many as are shown elsewhere; two manifests of one version never share them.
_DIGEST_CHARACTERS = 12


def load(bundle: Bundle) -> tuple[nn.Module, Mapping[str, PathObject]]:
    """The module with its weights, and the registered paths.

    Raises BundleError if a file changed since the manifest was sealed, the code raises, the entry is no function
    that returns an nn.Module, the weights do not fit it exactly, or a path's entry is no function.
    """
    code: dict[str, ModuleType] = {}
    entry = bundle.manifest.entry
    if entry is None:
        raise BundleError('A bundle of framework torch needs entry = "model:build".', field="entry")
    module = _build(_function(bundle, code, entry, field="entry"), entry)
    if WEIGHTS in bundle.manifest.files:
        _load_weights(module, read_verified(bundle.folder, WEIGHTS, bundle.manifest.files[WEIGHTS]))
    paths = {
        name: _function(bundle, code, path_entry, field=f"paths.{name}.entry")
        for name, path_entry in bundle.manifest.path_entries.items()
    }
    return module, paths


def import_name(info: ModelInfo) -> str:
    """The name under which a bundle's code is imported: no two manifests share one, and it holds no dot."""
    return f"attributor_bundle_{info.name}_{info.version.replace('.', '_')}_{info.digest[:_DIGEST_CHARACTERS]}"


def unload(info: ModelInfo) -> None:
    """Takes the code of a bundle out of Python's table of modules, so that it goes when its last object does."""
    name = import_name(info)
    for known in [known for known in sys.modules if known == name or known.startswith(f"{name}__")]:
        del sys.modules[known]


def _function(bundle: Bundle, code: dict[str, ModuleType], entry: str, *, field: str) -> Callable[..., Any]:
    """The function `module:function`; each file runs once, and is kept in `code`."""
    module_name, _, function_name = entry.partition(":")
    if module_name not in code:
        code[module_name] = _import(bundle, module_name, field, is_first=not code)
    function = getattr(code[module_name], function_name, None)
    if not callable(function):
        raise BundleError(f"{module_name}.py has no function {function_name}().", field=field)
    return cast("Callable[..., Any]", function)


def _import(bundle: Bundle, module_name: str, field: str, *, is_first: bool) -> ModuleType:
    """Executes exactly the bytes that were verified: never a cached .pyc beside them, which no hash covers."""
    file_name = f"{module_name}.py"
    source = read_verified(bundle.folder, file_name, bundle.manifest.files[file_name])
    path = bundle.folder / file_name
    name = import_name(bundle.info)
    if not is_first:
        name = f"{name}__{module_name}"  # two underscores: no name and version make them
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise BundleError(f"{file_name} is not Python source.", field=field)
    module = importlib.util.module_from_spec(spec)
    # Before executing: a dataclass with postponed annotations looks its own module up in there.
    sys.modules[name] = module
    try:
        exec(compile(source, path, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - the bundle's code
    except Exception as error:
        del sys.modules[name]
        raise BundleError(f"{file_name} raised {describe(error)}.", field=field) from error
    return module


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
