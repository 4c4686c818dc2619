"""Bundles and what was found of them, as lines for a terminal. Knows descriptions of models; loads none."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attributor.api.rules_of_methods import methods_for
from attributor.jobs.model import Feature, InputKind, InputSpec, ModelReport
from attributor.registry.catalog import Bundle, FolderCatalog

#: Names listed of labels and files before the rest is counted. Ours: two lines of a terminal.
_NAMES_SHOWN = 12

_MB = 1_000_000

_WHAT_TO_DO: Mapping[str, str] = {
    **dict.fromkeys(
        (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".bin", ".ckpt", ".torchscript", ".ts"),
        "a pickle or TorchScript as a rule, and loading one runs whatever its author wrote: export the model to ONNX "
        "(torch.onnx.export, skl2onnx), or give the code that builds it (file.py:build) and its "
        "weights as safetensors (--weights FILE)",
    ),
    ".pt2": "a program of torch.export, whose bundle is written by hand (models/README.md): it does not say what "
    "its inputs are called, and loading it runs code",
    ".safetensors": "weights without a model: give the Hugging Face folder that they lie in, or the code that builds "
    "the module, with this file by --weights (file.py:build --weights net.safetensors)",
    ".py": "a Python file: name the function that builds the module, such as file.py:build",
}


def what_to_do_with(path: Path) -> str:
    """What a file is of which no bundle can be made, and what to give in its place."""
    known = _WHAT_TO_DO.get(path.suffix.lower())
    return known or "none of these: an .onnx file, a Hugging Face folder, file.py:build, package.module:build"


def listed(catalog: FolderCatalog) -> Iterator[str]:
    """A line for each version: a star if a bare name means it, its framework, title, and aliases."""
    models = catalog.all()
    refs = [f"{info.ref}{' *' if catalog.default(info.name) == info.version else ''}" for info in models]
    width = max(map(len, refs), default=0)
    for ref, info in zip(refs, models, strict=True):
        aliases = [f"@{alias}" for alias, version in catalog.aliases(info.name).items() if version == info.version]
        yield f"{ref:<{width}}  {info.framework:<13} {info.title}" + (f" ({', '.join(aliases)})" if aliases else "")


def checked(report: ModelReport) -> Iterator[str]:
    """What was found of a model: ready or why not, its size and time, and each check."""
    yield f"{report.ref}  {report.readiness}" + (f": {report.reason}" if report.reason else "")
    if report.memory_bytes:
        yield f"    {'memory':<20} {report.memory_bytes / _MB:.1f} MB of parameters and buffers"
    if report.seconds_per_evaluation is not None:
        yield (
            f"    {'evaluation':<20} {report.seconds_per_evaluation * 1000:.3g} ms a point, forward and backward"
            + (f", in passes of {report.points_per_pass}" if report.points_per_pass else "")
        )
    if report.transforms:
        yield f"    {'transforms':<20} {', '.join(report.transforms)}"
    for name, finding in report.checks.items():
        yield f"    {name:<20} {finding}"


def shown(bundle: Bundle) -> Iterator[str]:
    """All that a manifest says, in the order in which a person asks for it."""
    info, manifest = bundle.info, bundle.manifest
    own = methods_for(info, comparators=False)
    yield f"{info.ref}: {info.title}"
    yield f"    {info.description}"
    yield from _entries(
        {
            "framework": info.framework + ("" if info.gradients else ", without gradients"),
            "task": " ".join(
                filter(None, (manifest.task, manifest.pooling, "unit length" if manifest.unit_length else ""))
            ),
            "explained by": ", ".join(own),
            "with comparators": ", ".join(method for method in methods_for(info) if method not in own),
            "licence": info.licence,
            "source": info.source,
            "digest": info.digest,
        }
    )
    if info.sources:
        yield "given in one piece"
        yield from _entries(
            {each.name: f"{each.kind} ({each.file or ', '.join(each.elements)})" for each in info.sources.values()}
        )
    yield "inputs"
    for spec in info.inputs:
        yield from _input(spec)
    yield "output"
    yield from _entries(
        {info.output.name: f"{info.output.kind} {list(info.output.shape)}: {_names(info.output.labels)}"}
    )
    yield "baselines"
    for baseline in info.baselines.values():
        mark = " (default)" if baseline.name == info.default_baseline else ""
        yield f"    {baseline.name}{mark}: {baseline.description}"
    yield from _table(
        "layers with names", {each.name: f"{each.module} {each.description}" for each in info.layers.values()}
    )
    yield from _table("paths", dict(manifest.path_entries))
    yield from _table("metadata", info.metadata)
    if info.reference_count:
        yield f"reference set of {info.reference_count}"
    yield from _table("files", {name: f"{record.size_bytes} bytes" for name, record in manifest.files.items()})


def _input(spec: InputSpec) -> Iterator[str]:
    shape = f"up to {list(spec.shape)}" if spec.variable else str(list(spec.shape))
    yield f"    {spec.name}: {spec.kind} {shape}{'' if spec.attributed else ', given and not explained'}"
    facts = {
        "made from": f"{spec.source} ({spec.part})" if spec.source else None,
        "values": f"{spec.value_range[0]:g} to {spec.value_range[1]:g}" if spec.value_range else None,
        "normalised": ", ".join(f"(pixel - {mean:g}) / {std:g}" for mean, std in spec.normalise) or None,
        "other sizes": f"fitted by {spec.fit}" if spec.fit else "refused" if spec.kind is InputKind.IMAGE else None,
        "vocabulary": f"{spec.vocabulary} ids" if spec.vocabulary else None,
        "embedding": spec.embedding,
        "groups": _names(tuple(spec.groups)) or None,
    }
    yield from (f"        {name:<16} {fact}" for name, fact in facts.items() if fact)
    yield from (f"        {_feature(feature)}" for feature in spec.features)


def _feature(feature: Feature) -> str:
    if feature.categories:
        what = f"one of {', '.join(feature.categories)}" + (", an element each" if feature.one_hot else "")
    else:
        low, high = ("" if bound is None else f"{bound:g}" for bound in (feature.minimum, feature.maximum))
        what = f"{low} to {high}".strip() if low or high else "a number"
    missing = feature.missing_category or (None if feature.missing is None else f"{feature.missing:g}")
    unit = f" {feature.unit}" if feature.unit else ""
    return f"{feature.name:<24} {what}{unit}" + (f"; missing counts as {missing}" if missing is not None else "")


def _names(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _table(title: str, entries: Mapping[str, str]) -> Iterator[str]:
    if entries:
        yield title
        yield from _entries(entries)


def _entries(entries: Mapping[str, str]) -> Iterator[str]:
    return (f"    {name:<20} {value}" for name, value in entries.items() if value)
