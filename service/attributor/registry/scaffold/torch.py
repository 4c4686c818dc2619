"""A bundle drafted from a function that builds a torch module: its code copied, its state written down.

Imports and runs that code, which is the code of whoever calls this. Knows torch and safetensors.
"""

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from attributor.errors import BundleError
from attributor.registry.foreign import describe
from attributor.registry.formats.python_code import WEIGHTS
from attributor.registry.scaffold.alone import advice, away_from, load_weights
from attributor.registry.scaffold.drafts import Draft, Wishes
from attributor.registry.scaffold.inputs import DraftedInput, Seen, baselines_of, drafted_input, remarks_of

#: The name under which the code is imported here, so that it hides no module of that name.
_IMPORT_NAME = "attributor_scaffold_source"
#: The bundle's name for the code.
_FILE = "model.py"
#: More than one, so that a module that loses the batch axis shows it.
_ROWS = 2
#: Axes of the output of a sequence: rows, positions, labels; of others: rows, labels.
_SEQUENCE_AXES = 3
_FLAT_AXES = 2

_UNTRAINED = (
    "its weights are those that the function made; if they are trained ones, they come from a file by "
    "--weights FILE.safetensors"
)


def draft_torch(source: str, wishes: Wishes, weights: Path | None = None) -> Draft:
    """A draft of `file.py:function` or `package.module:function`, a function that takes nothing and returns the module.

    `weights`: a file of safetensors with its state; None: the state that the function makes. The code is run as a
    bundle's is, from a copy without its folder. Raises BundleError if that cannot be, if the weights do not fit
    exactly, or if the module does not run on inputs of `wishes.shapes`, which are needed.
    """
    path, function = _parts(source)
    if not wishes.shapes:
        raise BundleError(
            "What the module takes does not stand in its code: add --shape name=3,224,224 for each input, in the order "
            "in which it takes them, without the batch axis."
        )
    file = weights.resolve() if weights is not None else None  # before the working folder is another
    with away_from(path) as copy:
        module = _built(copy, path, function)
        if file is not None:
            load_weights(module, file)
        inputs = [_input(module, name, shape, wishes) for name, shape in wishes.shapes.items()]
        output = _output(_run(module, inputs), wishes)
    state = {name: value.detach().clone().contiguous() for name, value in module.state_dict().items()}
    saved: dict[str, Path | bytes] = {WEIGHTS: safetensors.torch.save(state)} if state else {}
    return Draft(
        head={"framework": "torch", "entry": f"model:{function}"},
        inputs=[each.table for each in inputs],
        output=output,
        baselines=baselines_of(inputs),
        files={_FILE: path, **saved},
        metadata={"parameters": str(sum(parameter.numel() for parameter in module.parameters()))},
        remarks=[*remarks_of(inputs), *([_UNTRAINED] if weights is None and state else [])],
    )


def _parts(source: str) -> tuple[Path, str]:
    place, _, function = source.rpartition(":")
    if not function.isidentifier():
        raise BundleError(f"{source}: the name of a function is needed behind the colon, such as {place}:build.")
    if place.endswith(".py"):
        path = Path(place).resolve()
        if not path.is_file():
            raise BundleError(f"There is no file {place}.")
        return path, function
    try:
        spec = importlib.util.find_spec(place)
    except (ImportError, ValueError) as error:
        raise BundleError(f"Module {place} cannot be found: {describe(error)}.") from error
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        raise BundleError(f"Module {place} is not a Python file on the import path.")
    return Path(spec.origin).resolve(), function


def _built(copy: Path, path: Path, function: str) -> nn.Module:
    """The module, from the file alone, as a bundle's code is loaded: what it imports besides must be installed."""
    spec = importlib.util.spec_from_file_location(_IMPORT_NAME, copy)
    if spec is None or spec.loader is None:
        raise BundleError(f"{path} cannot be imported.")
    code = importlib.util.module_from_spec(spec)
    sys.modules[_IMPORT_NAME] = code
    try:
        spec.loader.exec_module(code)
        module = getattr(code, function)()
    except Exception as error:  # what someone's code may raise is not ours to list
        what = f"{path.name} raised when {function}() was called: {describe(error)}."
        raise BundleError(" ".join(filter(None, (what, advice(error, path.parent))))) from error
    finally:
        del sys.modules[_IMPORT_NAME]
    if not isinstance(module, nn.Module):
        raise BundleError(f"{function}() returns {type(module).__name__}, not a torch.nn.Module.")
    return module.eval().requires_grad_(False)


def _input(module: nn.Module, name: str, shape: tuple[int, ...], wishes: Wishes) -> DraftedInput:
    columns = wishes.columns if len(wishes.shapes) == 1 else ()
    vocabulary = wishes.vocabularies.get(name)
    if vocabulary is None:
        return drafted_input(Seen(name, shape), wishes, columns)
    tables = [
        path
        for path, part in module.named_modules()
        if isinstance(part, nn.Embedding) and part.num_embeddings == vocabulary
    ]
    lookup = (vocabulary, tables[0]) if len(tables) == 1 else None
    return drafted_input(Seen(name, shape, whole=True, lookup=lookup), wishes, columns)


def _run(module: nn.Module, inputs: Sequence[DraftedInput]) -> Tensor:
    rows = []
    for each in inputs:
        shape = each.table["shape"]
        if not isinstance(shape, list):
            raise TypeError("A drafted input has no shape. This is a bug.")
        rows.append(torch.zeros(_ROWS, *shape, dtype=torch.int64 if each.table["kind"] == "tokens" else torch.float32))
    try:
        with torch.no_grad():
            output = module(*rows)
    except Exception as error:
        shapes = ", ".join(str(list(row.shape)) for row in rows)
        raise BundleError(f"The module raised on inputs of shape {shapes}: {describe(error)}.") from error
    if not isinstance(output, Tensor) or output.dim() not in (_FLAT_AXES, _SEQUENCE_AXES):
        found = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise BundleError(f"The module returns {found}; (rows, n) is needed, or, of a sequence, (rows, positions, n).")
    return output


def _output(output: Tensor, wishes: Wishes) -> dict[str, object]:
    width = output.shape[-1]
    if wishes.labels and len(wishes.labels) != width:
        raise BundleError(f"There are {len(wishes.labels)} labels; the module returns {width} numbers a row.")
    sequence = output.dim() == _SEQUENCE_AXES
    kind = wishes.output_kind or ("sequence" if sequence else "values" if width == 1 else "classes")
    table: dict[str, object] = {"name": "values" if kind == "values" else "logits", "kind": kind}
    if sequence:
        table["positions"] = output.shape[1]
    return {**table, **({"labels": list(wishes.labels)} if wishes.labels else {"classes": width})}
