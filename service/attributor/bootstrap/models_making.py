"""What `attributor models new` and `add` do with a bundle once it is there: prove it, give it its place, say so.

Knows folders and lines of text. Knows no options.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from attributor.jobs.model import ModelReport
from attributor.registry.catalog import Bundle
from attributor.registry.scaffold.drafts import Draft, written
from attributor.registry.scaffold.placing import copied, displaced, drafts_in, pinned, place, remove_if_draft
from attributor.registry.scaffold.refusals import is_of_the_model, what_instead

#: Proves the bundles of these names in a model folder, says what was found, and returns it.
Prove = Callable[[Path, Sequence[str]], Sequence[ModelReport]]


def make(draft: Draft, root: Path, ref: tuple[str, str], source: str, prove: Prove, *, as_draft: bool) -> bool:
    """Writes a bundle, proves it, and gives it its place if it passes. Returns whether it did.

    `ref`: name and version. A bundle that fails stays as a draft if an edit of its manifest can help, else nothing
    stays. Raises BundleError as `written` does.
    """
    with written(draft, root, *ref, source) as bundle:
        for remark in draft.remarks:
            typer.echo(f"note: {remark}")
        report = _proof(bundle, prove)
        if report.reason is not None and is_of_the_model(bundle.info, report):
            typer.echo(f"{bundle.info.ref} was not made. {what_instead(bundle.info, report)}", err=True)
            return False
        as_draft = as_draft or report.reason is not None
        placed = place(bundle, drafts_in(root) if as_draft else root)
    if report.reason is not None:
        typer.echo(f"{placed.info.ref} is not served: it stays as a draft. {_how_to_publish(placed, root)}", err=True)
        typer.echo(f"Or remove {placed.folder}, and try again with other options.", err=True)
        return False
    if as_draft:
        typer.echo(f"wrote the draft {placed.folder}, which no service reads. {_how_to_publish(placed, root)}")
        return True
    typer.echo(f"wrote {placed.folder}")
    _say_what_is_displaced(placed, root)
    typer.echo(f"serve it: attributor serve --models {root}")
    return True


def add(source: Path, root: Path, prove: Prove) -> bool:
    """Copies a finished bundle into the model folder if it passes; a draft is gone then. Returns whether it did."""
    with copied(source, root) as arrived:
        if _proof(arrived, prove).reason is not None:
            typer.echo(f"{arrived.info.ref} was not added.", err=True)
            return False
        placed = place(arrived, root)
    typer.echo(f"added {placed.info.ref} at {placed.folder}")
    if remove_if_draft(source, root):
        typer.echo(f"removed the draft {source}")
    _say_what_is_displaced(placed, root)
    return True


def _proof(bundle: Bundle, prove: Prove) -> ModelReport:
    (report,) = prove(bundle.folder.parent.parent, [bundle.info.ref])
    return report


def _how_to_publish(draft: Bundle, root: Path) -> str:
    return (
        f"Edit {draft.folder / 'manifest.toml'}, then: attributor models seal {draft.folder} && attributor models add "
        f"{draft.folder} --models {root}"
    )


def _say_what_is_displaced(placed: Bundle, root: Path) -> None:
    before = displaced(placed, root)
    if before is not None:
        typer.echo(
            f"note: {placed.info.name} without a version means {placed.info.version} from now on, in a running service "
            f'too (it was {before}); to keep {before}, put default = "{before}" into {pinned(root, placed.info.name)}. '
            "With --draft a version is looked at before it is served."
        )
