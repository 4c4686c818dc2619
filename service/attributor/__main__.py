"""The command line, and nothing else: options to settings, settings to `bootstrap`."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsError

from attributor.bootstrap import keys_commands, models_commands, quarantine_commands
from attributor.bootstrap.exits import EXIT_CONFIG
from attributor.bootstrap.processes import thread_environment
from attributor.errors import AttributorError
from attributor.settings import Settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Integrated gradients over HTTP.")
app.add_typer(models_commands.app, name="models")
app.add_typer(keys_commands.app, name="keys")
app.add_typer(quarantine_commands.app, name="quarantine")

Models = Annotated[Path | None, typer.Option("--models", help="The folder of bundles (default: models).")]
Host = Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")]
Port = Annotated[int | None, typer.Option(help="Port to listen on (default: 8080).")]
DataDir = Annotated[Path | None, typer.Option(help="Where the embedded Valkey keeps jobs (default: attributor-data).")]
RedisUrl = Annotated[str | None, typer.Option(help="A Redis or Valkey of yours, in place of the embedded one.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes on the processor (default: one per core).")]
Devices = Annotated[
    str | None,
    typer.Option(help="`all` for a process per GPU, `cpu`, or torch devices such as cuda:0,cuda:1 (default: cpu)."),
]
One = Annotated[
    bool,
    typer.Option("--one", help="One process, here, for a supervisor of yours: status 75 asks it for another process."),
]
SharedPort = Annotated[
    bool,
    typer.Option("--shared-port", help="Other API processes of this user listen on the same port, and share requests."),
]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error (default: info).")]


def _settings(
    models_dir: Path | None,
    log_level: str | None,
    **groups: dict[str, Any],
) -> Settings:
    """`_given`, with a folder of models that is there."""
    settings = _given(models_dir, log_level, **groups)
    if not settings.models_dir.is_dir():
        raise typer.BadParameter(f"there is no model folder at {settings.models_dir}; pass --models DIR")
    return settings


def _given(models_dir: Path | None, log_level: str | None, **groups: dict[str, Any]) -> Settings:
    """The environment's settings, with what the command line gives on top; `groups`: api, store, worker."""
    given: dict[str, Any] = {"models_dir": models_dir, "log_level": log_level}
    for group, values in groups.items():
        given[group] = {name: value for name, value in values.items() if value is not None} or None
    overriding: Any = {name: value for name, value in given.items() if value is not None}
    return Settings(**overriding)


def _required_url(settings: Settings) -> str:
    if settings.store.redis_url is None:
        raise typer.BadParameter("pass --redis-url, or use `attributor serve`, which brings its own store")
    return settings.store.redis_url


@app.command()
def serve(
    models: Models = None,
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
    workers: Workers = None,
    devices: Devices = None,
    log_level: LogLevel = None,
) -> None:
    """Run everything on this machine: embedded store, API and workers. Ctrl-C stops all."""
    from attributor.bootstrap.serve import run_serve

    given: dict[str, dict[str, Any]] = {
        "api": {"host": host, "port": port},
        "store": {"data_dir": data_dir, "redis_url": redis_url},
        "worker": {"processes": workers},
    }
    raise typer.Exit(run_serve(_settings(models, log_level, **given), devices))


@app.command()
def api(
    models: Models = None,
    host: Host = None,
    port: Port = None,
    redis_url: RedisUrl = None,
    shared_port: SharedPort = False,
    log_level: LogLevel = None,
) -> None:
    """Run one API process on a Redis or Valkey of yours. Needs no torch."""
    from attributor.bootstrap.api import run_api

    settings = _settings(models, log_level, api={"host": host, "port": port}, store={"redis_url": redis_url})
    run_api(settings, _required_url(settings), shares_port=shared_port)


@app.command()
def worker(
    models: Models = None,
    redis_url: RedisUrl = None,
    workers: Workers = None,
    devices: Devices = None,
    one: One = False,
    log_level: LogLevel = None,
) -> None:
    """Run the workers of this machine on a Redis or Valkey of yours."""
    settings = _settings(models, log_level, store={"redis_url": redis_url}, worker={"processes": workers})
    url = _required_url(settings)
    if not one:
        from attributor.bootstrap.workers import run_workers

        raise typer.Exit(run_workers(settings, url, devices))
    if devices is not None or workers is not None:
        raise typer.BadParameter("--one is a single process: it takes its device from ATTRIBUTOR_WORKER__DEVICE")
    os.environ.update(thread_environment(settings.worker.threads))  # torch reads it when it is loaded
    raise typer.Exit(_with_torch().run_worker(settings, url))


@app.command()
def doctor(models: Models = None, data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """Look for what stands in the way: store, rights, memory, models, workers. Status 1 where there is a problem."""
    from attributor.bootstrap.doctor import findings
    from attributor.storage.findings import Level

    settings = _given(models, None, store={"data_dir": data_dir, "redis_url": redis_url})
    status = 0
    for each in findings(settings):
        typer.echo(f"{each.level:8} {each.about}: {each.said}")
        if each.remedy and each.level is not Level.OK:
            typer.echo(f"{'':8} -> {each.remedy}")
        status |= each.level is Level.PROBLEM
    raise typer.Exit(status)


@app.command()
def openapi(
    output: Annotated[Path, typer.Option(help="Where the document is kept.")] = Path("openapi/openapi.json"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if the file differs.")] = False,
) -> None:
    """Write the OpenAPI document of this version, or check the one on disk against it."""
    from attributor.bootstrap.openapi import openapi_bytes

    document = openapi_bytes()
    if not check:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(document)
        typer.echo(f"wrote {output}")
    elif not output.is_file() or output.read_bytes() != document:
        typer.echo(f"{output} differs from the application: run `attributor openapi`", err=True)
        raise typer.Exit(1)


def _with_torch() -> Any:
    """`bootstrap.worker`, or a sentence on what to install."""
    try:
        from attributor.bootstrap import worker as module
    except ModuleNotFoundError as error:
        typer.echo(f"this needs {error.name}: pip install 'attributor[worker]'", err=True)
        raise typer.Exit(EXIT_CONFIG) from error
    return module


def main() -> None:
    """Run the command line; a stated error is a sentence, not a trace."""
    try:
        app()
    except AttributorError as error:
        sys.exit(f"attributor: {error.detail}")
    except SettingsError as error:
        sys.exit(f"attributor: a setting is wrong: {error}")
    except ValidationError as error:
        found = "; ".join(
            ": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"].removeprefix("Value error, "))))
            for e in error.errors()
        )
        sys.exit(f"attributor: a setting is wrong: {found}")


if __name__ == "__main__":
    main()
