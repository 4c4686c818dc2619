"""A bundle drafted from an ONNX file: its inputs, its output and what belongs to them, read from the graph.

Knows onnx's messages. Runs nothing and differentiates nothing; whether the draft is true is for the proof to say.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import GraphProto, ModelProto, TensorProto

from attributor.errors import BundleError
from attributor.registry.files import FILE_NAME
from attributor.registry.scaffold.drafts import Draft, Wishes
from attributor.registry.scaffold.inputs import DraftedInput, Seen, baselines_of, drafted_input, key_of, remarks_of
from attributor.registry.scaffold.mistaken import what_it_is
from attributor.registry.scaffold.onnx_graph import Graph
from attributor.registry.scaffold.onnx_output import drafted_output

#: The bundle's name for the graph, whatever the file was called; files of weights keep theirs, which the graph names.
_FILE = "model.onnx"

#: Operators that are constant around almost every point, so that their gradient says nothing.
_STEPS = frozenset(("TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor", "SVMClassifier", "SVMRegressor"))

_FLOATS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)
_WHOLE = (TensorProto.INT64, TensorProto.INT32)


def draft_onnx(path: Path, wishes: Wishes) -> Draft:
    """A draft of a bundle of this file.

    Raises BundleError with what to add or how to export again, if the file does not say what a manifest needs.
    """
    model = _read(path)
    graph = Graph(model)
    steps = sorted(_STEPS & {node.op_type for node in graph.nodes})
    gradients = wishes.gradients and not steps
    declared = _declared_inputs(model.graph)
    unknown = [name for name in (*wishes.shapes, *wishes.vocabularies) if name not in map(key_of, declared)]
    if unknown:
        raise BundleError(f"The graph has no input {unknown[0]!r}; it takes {', '.join(map(key_of, declared))}.")
    if wishes.columns and len(declared) > 1:
        raise BundleError(f"--columns are for a graph of one input; this one takes {', '.join(map(key_of, declared))}.")
    sizes = _sizes_of_names(declared.values(), wishes)
    inputs = [_input(graph, value, wishes, sizes, wishes.columns) for value in declared.values()]
    output = drafted_output(graph, inputs, wishes, gradients=gradients)
    remarks = remarks_of(inputs)
    if steps:
        remarks.append(
            f"it has {', '.join(steps)}, which has no gradient: methods that perturb serve it (gradients = false)"
        )
    head: dict[str, object] = {"framework": "onnx", "file": _FILE}
    if not gradients:
        head["gradients"] = False
    return Draft(
        head=head,
        inputs=[each.table for each in inputs],
        output=output,
        baselines=baselines_of(inputs),
        files={_FILE: path, **_weights(model, path.parent)},
        metadata=_metadata(model),
        remarks=remarks,
    )


def _read(path: Path) -> ModelProto:
    if what := what_it_is(path):
        raise BundleError(f"{path.name} is not an ONNX file: it is {what}")
    try:
        model = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise BundleError(f"{path} cannot be read as ONNX: {error}.") from error
    if not model.graph.node or not model.graph.output:
        raise BundleError(f"{path} holds no graph: it is no ONNX model, or an empty one.")
    return model


def _declared_inputs(graph: GraphProto) -> dict[str, onnx.ValueInfoProto]:
    defaults = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: value for value in graph.input if value.name not in defaults}
    keys = [key_of(name) for name in inputs]
    if len(set(keys)) < len(keys):
        raise BundleError(f"The inputs {', '.join(inputs)} would have the same names in a manifest; rename them.")
    return inputs


def _input(
    graph: Graph, value: onnx.ValueInfoProto, wishes: Wishes, sizes: Mapping[str, int], columns: Sequence[str]
) -> DraftedInput:
    tensor = value.type.tensor_type
    name = key_of(value.name)
    if not value.type.HasField("tensor_type") or tensor.elem_type not in (*_FLOATS, *_WHOLE):
        raise BundleError(
            f"Input {value.name} is of type {_type_name(value)}; floats and int64 are taken. Encode text and "
            "categories before the graph, and export the rest."
        )
    dims = _dims(value)
    whole = tensor.elem_type in _WHOLE
    open_length = len(dims) > 1 and isinstance(dims[1], str)
    shape = _shape(name, dims, wishes.shapes.get(name) or _shape_of_names(dims, sizes))
    seen = Seen(name, shape, whole=whole, variable=whole and open_length, lookup=graph.lookup(value.name))
    drafted = drafted_input(seen, wishes, columns)
    return drafted if name == value.name else drafted.with_tensor(value.name)


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    """A number, or a name (also of a dimension without one: "")."""
    return [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else dim.dim_param
        for dim in value.type.tensor_type.shape.dim
    ]


def _sizes_of_names(values: Iterable[onnx.ValueInfoProto], wishes: Wishes) -> dict[str, int]:
    """The sizes that --shape gives to named dimensions: those of one input hold for all."""
    sizes: dict[str, int] = {}
    for value in values:
        given = wishes.shapes.get(key_of(value.name), ())
        sizes.update({dim: size for dim, size in zip(_dims(value)[1:], given, strict=False) if isinstance(dim, str)})
    sizes.pop("", None)
    return sizes


def _shape_of_names(dims: Sequence[int | str], sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    found = [dim if isinstance(dim, int) else sizes.get(dim) for dim in dims[1:]]
    known = [size for size in found if size is not None]
    return tuple(known) if len(known) == len(found) else None


def _shape(name: str, dims: Sequence[int | str], given: tuple[int, ...] | None) -> tuple[int, ...]:
    """Without the batch axis. Raises BundleError if it is not said anywhere."""
    if not dims:
        raise BundleError(f"Input {name} has no batch axis: export the model with inputs of shape (rows, ...).")
    if isinstance(dims[0], int) and dims[0] > 1:
        raise BundleError(
            f"Input {name} takes {dims[0]} rows at a time: export it with a dynamic batch axis, or with one row."
        )
    said = "x".join(str(dim) or "?" for dim in dims[1:])
    if given is None:
        example = ",".join(str(dim) if isinstance(dim, int) else "N" for dim in dims[1:])
        raise BundleError(
            f"The file leaves the shape of input {name} open ({said}, without the batch axis). Add "
            f"--shape {name}={example} with numbers; of tokens the most positions."
        )
    if len(given) != len(dims) - 1 or any(
        isinstance(dim, int) and dim != size for dim, size in zip(dims[1:], given, strict=False)
    ):
        raise BundleError(f"--shape {name}={','.join(map(str, given))} is not {said}, which the file says of it.")
    return given


def _type_name(value: onnx.ValueInfoProto) -> str:
    if not value.type.HasField("tensor_type"):
        return str(value.type.WhichOneof("value"))
    return str(TensorProto.DataType.Name(value.type.tensor_type.elem_type)).lower()


def _weights(model: ModelProto, folder: Path) -> dict[str, Path | bytes]:
    """The files beside the graph that hold its weights. Raises BundleError for one that lies elsewhere."""
    names = {
        entry.value
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for name in sorted(names):
        if not FILE_NAME.fullmatch(name) or not (folder / name).is_file() or (folder / name).is_symlink():
            raise BundleError(
                f"The graph keeps weights in {name!r}, which is no plain file beside it. Save it again with onnx.save, "
                "in one file or with one file of weights in the same folder."
            )
    return {name: folder / name for name in sorted(names)}


def _metadata(model: ModelProto) -> dict[str, str]:
    found = {f"opset{'-' if each.domain else ''}{each.domain}": str(each.version) for each in model.opset_import}
    producer = f"{model.producer_name} {model.producer_version}".strip()
    return {key.replace(".", "-"): text for key, text in {"producer": producer, **found}.items() if text}
