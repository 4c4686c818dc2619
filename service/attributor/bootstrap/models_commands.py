"""The commands `attributor models ...`: options to the registry, and what it finds to lines of text.

Knows typer and settings; what needs torch is imported by the commands that do. Runs no service.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from attributor.bootstrap import models_text as text
from attributor.bootstrap.exits import EXIT_CONFIG
from attributor.bootstrap.models_making import add, make
from attributor.jobs.model import ModelReport
from attributor.registry.catalog import FolderCatalog
from attributor.registry.files import SEAL
from attributor.registry.scaffold.drafts import Draft, Wishes, name_from
from attributor.registry.scaffold.placing import drafts, next_version
from attributor.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Look after the bundles in the model folder.")

Models = Annotated[Path | None, typer.Option("--models", help="The folder of bundles (default: models).")]
Reference = Annotated[str, typer.Argument(help="A model: name, name@version or name@alias.")]
References = Annotated[list[str] | None, typer.Argument(help="name, name@version or name@alias; all without one.")]
Name = Annotated[str | None, typer.Option(help="The model's name (default: the file's).")]
VersionOption = Annotated[str | None, typer.Option("--version", help="Its version (default: the next free number).")]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape", help="name=3,224,224: an input's shape without the batch axis; of tokens the most of them."
    ),
]
Vocabularies = Annotated[list[str] | None, typer.Option("--vocabulary", help="name=30522: how many ids there are.")]
Labels = Annotated[
    list[str] | None, typer.Option("--label", help="A class's or value's name; once for each, in order.")
]
Kind = Annotated[str | None, typer.Option("--output-kind", help="classes, probabilities, values or sequence.")]
Columns = Annotated[str | None, typer.Option(help="Names of the columns of a table, separated by commas.")]
ColumnsFile = Annotated[Path | None, typer.Option("--columns-from-csv", help="A CSV file whose first line names them.")]
Task = Annotated[str | None, typer.Option(help="What a Hugging Face folder is for, if not what it was saved for.")]
NoGradients = Annotated[bool, typer.Option("--no-gradients", help="ONNX: run it only; methods that perturb serve it.")]

Weights = Annotated[
    Path | None, typer.Option(help="file.py:build: a file of safetensors with the trained state of the module.")
]
AsDraft = Annotated[bool, typer.Option("--draft", help="Write it where no service reads it, to look at it first.")]


@app.command("new")
def new_model(  # noqa: PLR0913 - an option each
    source: Annotated[
        str, typer.Argument(help="model.onnx, a Hugging Face folder, file.py:build or package.module:build.")
    ],
    models: Models = None,
    name: Name = None,
    version: VersionOption = None,
    shape: Shapes = None,
    vocabulary: Vocabularies = None,
    label: Labels = None,
    output_kind: Kind = None,
    columns: Columns = None,
    columns_from_csv: ColumnsFile = None,
    task: Task = None,
    no_gradients: NoGradients = False,
    weights: Weights = None,
    draft: AsDraft = False,
) -> None:
    """Make a bundle of a model that you have, and put it to the proof; if it passes, a running service serves it."""
    wishes = Wishes(
        shapes={key: _sizes(key, sizes) for key, sizes in _pairs("--shape", shape)},
        vocabularies={key: _whole("--vocabulary", count) for key, count in _pairs("--vocabulary", vocabulary)},
        labels=tuple(label or ()),
        columns=_columns(columns, columns_from_csv),
        output_kind=output_kind,
        gradients=not no_gradients,
    )
    root = models if models is not None else Settings().models_dir
    drafted = _draft(source, wishes, task, weights)
    root.mkdir(parents=True, exist_ok=True)
    chosen = name or name_from(_stem(source))
    ref = chosen, version or next_version(root, chosen)
    if not make(drafted, root, ref, _stem(source, ending=True), _reports, as_draft=draft):
        raise typer.Exit(1)


@app.command("add")
def add_model(
    bundle: Annotated[Path, typer.Argument(help="A finished bundle: the folder of one version, with its manifest.")],
    models: Models = None,
) -> None:
    """Copy a finished bundle, or publish a draft, into the model folder, once it is verified and proven."""
    root = models if models is not None else Settings().models_dir
    root.mkdir(parents=True, exist_ok=True)
    if not add(bundle, root, _reports):
        raise typer.Exit(1)


@app.command("list")
def list_models(models: Models = None) -> None:
    """List the bundles, and what is wrong with those that are broken. A star: what a bare name means.

    Whether they pass their proof is for `check` to find out.
    """
    root = _folder(models)
    catalog = FolderCatalog(root)
    for line in text.listed(catalog):
        typer.echo(line)
    for folder in drafts(root):
        typer.echo(f"draft: {folder} (attributor models add publishes it)")
    for ref, problem in catalog.problems.items():
        typer.echo(f"{ref} is broken, and not served: {problem}", err=True)


@app.command("show")
def show_model(ref: Reference, models: Models = None) -> None:
    """Show what a manifest says: inputs, output, baselines, layers, files, and what can explain the model."""
    bundle = FolderCatalog(_folder(models)).bundle(ref)
    for line in text.shown(bundle):
        typer.echo(line)


@app.command("check")
def check_models(refs: References = None, models: Models = None) -> None:
    """Verify bundles: file hashes, proof at load, golden example. Fails if one fails."""
    reports = _reports(_folder(models), refs)
    if not reports or any(report.reason for report in reports):
        raise typer.Exit(1)


@app.command("seal")
def seal_models(bundle: Annotated[Path, typer.Argument(help="The folder of one version.")]) -> None:
    """Write the sizes and hashes of a bundle's files, as they are now, into its manifest."""
    from attributor.registry.seal import seal

    manifest = seal(bundle)
    typer.echo(f"sealed {manifest.info.ref}, digest {manifest.info.digest[:12]}:")
    for name, record in manifest.files.items():
        typer.echo(f"    {name:<24} {record.size_bytes:>10} bytes  sha256 {record.sha256[:12]}")


def _reports(root: Path, refs: Sequence[str] | None) -> Sequence[ModelReport]:
    """What was found of each; prints it, too."""
    try:
        from attributor.registry.registry import check_bundles
    except ModuleNotFoundError as error:
        raise _lacking(error) from error
    settings = Settings(models_dir=root)
    reports = check_bundles(root, refs, allow_torch_export=settings.worker.allow_torch_export)
    for report in reports:
        for line in text.checked(report):
            typer.echo(line)
        if SEAL in (report.reason or ""):
            typer.echo(f"    to seal it: attributor models seal {root.joinpath(*report.ref.split('@'))}")
    return reports


def _draft(source: str, wishes: Wishes, task: str | None, weights: Path | None) -> Draft:
    path = Path(source)
    if weights is not None and (path.exists() or ":" not in source):
        raise typer.BadParameter("--weights is for a function that builds a torch module, such as net.py:build")
    try:
        if path.is_dir():
            from attributor.registry.scaffold.huggingface import draft_huggingface

            return draft_huggingface(path, wishes, task)
        if task is not None:
            raise typer.BadParameter("--task is for a Hugging Face folder")
        if path.suffix == ".onnx":
            if not path.is_file():
                raise typer.BadParameter(f"there is no file {source}")
            from attributor.registry.scaffold.onnx import draft_onnx

            return draft_onnx(path, wishes)
        if ":" in source:
            from attributor.registry.scaffold.torch import draft_torch

            return draft_torch(source, wishes, weights)
    except ModuleNotFoundError as error:
        raise _lacking(error) from error
    raise typer.BadParameter(f"{source} is {text.what_to_do_with(path)}")


def _lacking(error: ModuleNotFoundError) -> typer.Exit:
    extra = "huggingface" if error.name == "transformers" else "worker"
    typer.echo(
        f"this needs {error.name}: pip install 'attributor[{extra}]' (in a checkout: pip install -e '.[{extra}]')",
        err=True,
    )
    return typer.Exit(EXIT_CONFIG)


def _stem(source: str, *, ending: bool = False) -> str:
    """What a source is called, without the folders that it lies in: they are nobody's business in a manifest."""
    place, _, function = source.rpartition(":")
    if place and not Path(source).exists():
        return f"{Path(place).name}:{function}" if ending else Path(place).stem.rpartition(".")[2] or place
    path = Path(source).resolve()
    return path.name if ending or path.is_dir() else path.stem


def _pairs(option: str, given: Sequence[str] | None) -> list[tuple[str, str]]:
    pairs = [each.partition("=")[::2] for each in given or ()]
    if any(not key or not value for key, value in pairs):
        raise typer.BadParameter(f"{option} takes name=value, such as {option} image=3,224,224")
    return pairs


def _sizes(name: str, sizes: str) -> tuple[int, ...]:
    return tuple(_whole(f"--shape {name}", size) for size in sizes.split(","))


def _whole(option: str, number: str) -> int:
    if not number.strip().isdecimal() or int(number) < 1:
        raise typer.BadParameter(f"{option} takes whole numbers from 1, not {number!r}")
    return int(number)


def _columns(names: str | None, table: Path | None) -> tuple[str, ...]:
    if names is not None and table is not None:
        raise typer.BadParameter("--columns and --columns-from-csv say the same twice")
    if table is None:
        return tuple(name.strip() for name in names.split(",")) if names else ()
    if not table.is_file():
        raise typer.BadParameter(f"there is no file {table}")
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            return tuple(name.strip() for name in next(csv.reader(file), []))
    except (UnicodeDecodeError, csv.Error) as error:
        raise typer.BadParameter(f"{table} is no CSV file in UTF-8: {error}") from None


def _folder(models: Path | None) -> Path:
    root = models if models is not None else Settings().models_dir
    if not root.is_dir():
        raise typer.BadParameter(f"there is no model folder at {root}; pass --models DIR")
    return root
