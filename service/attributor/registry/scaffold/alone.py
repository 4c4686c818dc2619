"""Someone's code run as a bundle's will be: a copy in an empty folder, its weights from one file, nothing beside it.

Knows torch and safetensors. Imports nothing itself.
"""

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from attributor.errors import BundleError
from attributor.registry.foreign import describe

#: Names of tensors that an error lists. Ours: a line of a terminal.
_NAMES_LISTED = 5

_NO_FILES = (
    "The function must not read files: a bundle holds the code and the weights, and nothing else goes along. Let it "
    "return the untrained module, and give the trained weights by --weights FILE.safetensors "
    "(safetensors.torch.save_file(module.state_dict(), FILE))."
)
_BESIDE = (
    "{name} lies beside the code, and a bundle holds one file of code: put both into one file, or install {name} where "
    "the worker runs."
)


@contextlib.contextmanager
def away_from(path: Path) -> Iterator[Path]:
    """A copy of a file in an empty working folder; the file's own folder, and where we stood, are not importable."""
    absolute, before = path.resolve(), list(sys.path)
    hidden = {absolute.parent, Path.cwd()}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(absolute, copy)
        sys.path[:] = [place for place in before if Path(place).resolve() not in hidden]
        try:
            with contextlib.chdir(folder):
                yield copy
        finally:
            sys.path[:] = before


def load_weights(module: nn.Module, file: Path) -> None:
    """Loads the state of a file into a module. Raises BundleError if it is no safetensors or does not fit exactly."""
    try:
        state = safetensors.torch.load_file(file)
    except (OSError, SafetensorError) as error:
        raise BundleError(
            f"{file.name} is no file of safetensors: {describe(error)}. Where you trust a file of torch.save: "
            "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'weights.safetensors')."
        ) from error
    expected = module.state_dict()
    # Of weights that layers share, safetensors.torch.save_model writes one name only.
    given = {_place(expected[name]) for name in state if name in expected}
    problems = [
        _listed("it lacks", [name for name in expected if name not in state and _place(expected[name]) not in given]),
        _listed("the module has no", [name for name in state if name not in expected]),
        _listed(
            "of another shape are",
            [
                f"{name} {list(state[name].shape)}, not {list(tensor.shape)}"
                for name, tensor in expected.items()
                if name in state and state[name].shape != tensor.shape
            ],
        ),
    ]
    if any(problems):
        raise BundleError(f"{file.name} does not fit the module exactly: {'; '.join(filter(None, problems))}.")
    module.load_state_dict(state, strict=False)


def advice(error: BaseException, folder: Path) -> str:
    """What to do where code cannot run by itself; empty if something else is wrong with it."""
    if isinstance(error, FileNotFoundError):
        return _NO_FILES
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = error.name.partition(".")[0]
        if (folder / f"{name}.py").is_file() or (folder / name).is_dir():
            return _BESIDE.format(name=name)
    if isinstance(error, ImportError) and "relative import" in str(error):
        return "A bundle holds one file of code without a package around it: import what is installed by its full name."
    return ""


def _place(tensor: Tensor) -> tuple[int, int]:
    return tensor.data_ptr(), tensor.numel()


def _listed(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = len(names) - _NAMES_LISTED
    return f"{what} {', '.join(names[:_NAMES_LISTED])}" + (f" and {more} more" if more > 0 else "")
