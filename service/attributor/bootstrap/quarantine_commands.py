"""The commands `attributor quarantine ...`: jobs that killed workers, in a store that runs."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from attributor.bootstrap.store import found_url, given_store, open_store
from attributor.errors import JobNotFound
from attributor.jobs.job import JobRecord
from attributor.storage.connection import RedisStore
from attributor.storage.redis_jobs import RedisJobStore
from attributor.storage.redis_quarantine import RedisQuarantine

app = typer.Typer(no_args_is_help=True, help="Look after the jobs that killed workers.")

DataDir = Annotated[Path | None, typer.Option(help="Where the embedded Valkey keeps jobs (default: attributor-data).")]
RedisUrl = Annotated[str | None, typer.Option(help="A Redis or Valkey of yours, in place of the embedded one.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]

T = TypeVar("T")


@app.command("list")
def list_jobs(
    limit: Annotated[int, typer.Option(min=1, help="Show so many at most.")] = 100,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
) -> None:
    """Show the jobs in quarantine, those put there last first."""
    records = _in_store(data_dir, redis_url, lambda store: RedisQuarantine(store).page(limit))
    for record in records:
        typer.echo(_line(record))
    if not records:
        typer.echo("no job is in quarantine")


@app.command()
def show(job_id: JobId, data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """Show what a job asked, and how it ended."""

    async def read(store: RedisStore) -> list[str]:
        record = await RedisQuarantine(store).record(job_id)
        spec = await RedisJobStore(store).spec(job_id)
        if record is None or spec is None:
            raise _not_there(job_id)
        why = record.failure.detail if record.failure else "not known"
        asked = f"{spec.explanation.method} by {spec.quadrature.rule}" if record.kind == "attribution" else record.kind
        shapes = "; ".join(f"{name} {tuple(value.shape)}" for name, value in spec.inputs[0].items())
        said = (_line(record), f"  asked: {asked}, about {spec.cost} evaluations", f"  each input: {shapes}")
        return [*said, f"  ended: {why}"]

    for text in _in_store(data_dir, redis_url, read):
        typer.echo(text)


@app.command()
def retry(job_id: JobId, data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """Queue a job again, to be computed alone once more."""
    _do(job_id, data_dir, redis_url, lambda quarantine: quarantine.retry(job_id), "queued again")


@app.command()
def drop(job_id: JobId, data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """Erase a job before it expires."""
    _do(job_id, data_dir, redis_url, lambda quarantine: quarantine.drop(job_id), "erased")


def _do(
    job_id: str,
    data_dir: Path | None,
    redis_url: str | None,
    step: Callable[[RedisQuarantine], Awaitable[bool]],
    done: str,
) -> None:
    if not _in_store(data_dir, redis_url, lambda store: step(RedisQuarantine(store))):
        raise _not_there(job_id)
    typer.echo(f"{job_id} is {done}")


def _in_store(data_dir: Path | None, redis_url: str | None, step: Callable[[RedisStore], Awaitable[T]]) -> T:
    settings = given_store(data_dir, redis_url)

    async def run() -> T:
        async with open_store(settings, found_url(settings)) as store:
            return await step(store)

    return asyncio.run(run())


def _not_there(job_id: str) -> JobNotFound:
    return JobNotFound(f"there is no job '{job_id}' in quarantine")


def _line(record: JobRecord) -> str:
    at = datetime.fromtimestamp(record.finished_at or record.created_at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    inputs = f"{record.n_inputs} input{'s' * (record.n_inputs != 1)}"
    return (
        f"{record.id}  {at}  {record.model}@{record.version}  {record.tenant}  {inputs}  {record.attempts} workers lost"
    )
