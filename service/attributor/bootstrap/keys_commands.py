"""The commands `attributor keys ...`: API keys, in a store that runs."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from attributor.bootstrap.store import found_url, given_store, open_store
from attributor.errors import InvalidRequest
from attributor.jobs.access import USUAL_SCOPES, ApiKey, Scope, new_key
from attributor.jobs.terms import Terms
from attributor.storage.redis_keys import RedisKeys
from attributor.telemetry.audit import audit
from attributor.telemetry.logs import configure_logging

app = typer.Typer(no_args_is_help=True, help="Make, show and revoke API keys.")

DataDir = Annotated[Path | None, typer.Option(help="Where the embedded Valkey keeps jobs (default: attributor-data).")]
RedisUrl = Annotated[str | None, typer.Option(help="A Redis or Valkey of yours, in place of the embedded one.")]
KeyId = Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")]
Scopes = Annotated[list[Scope] | None, typer.Option("--scope", help="What it opens; once for each (submit, read).")]
Weight = Annotated[float, typer.Option(help="Of the tenant's part of the workers' time, beside others' 1.")]
Waiting = Annotated[int | None, typer.Option(min=1, help="Evaluations that may wait; default: the queue's part.")]
Hourly = Annotated[int | None, typer.Option(min=1, help="Evaluations that may be asked for within an hour.")]

T = TypeVar("T")


@app.command()
def create(
    tenant: Annotated[str, typer.Option(help="Whose jobs it makes and sees.")],
    scope: Scopes = None,
    label: Annotated[str, typer.Option(help="What it is for, for people.")] = "",
    weight: Weight = 1.0,
    max_queued_cost: Waiting = None,
    evaluations_per_hour: Hourly = None,
    data_dir: DataDir = None,
    redis_url: RedisUrl = None,
) -> None:
    """Make a key. Its text is shown once, and kept nowhere."""
    try:
        terms = Terms(weight, max_queued_cost, evaluations_per_hour)
        text, key = new_key(tenant, frozenset(scope or USUAL_SCOPES), time.time(), label, terms)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    _in_store(data_dir, redis_url, lambda keys: keys.add(key))
    _note(key)
    typer.echo(text)


@app.command("list")
def list_keys(data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """Show all keys, without their secrets."""
    found = _in_store(data_dir, redis_url, lambda keys: keys.all())
    for key in found:
        typer.echo(_line(key))
    if not found:
        typer.echo("there are no keys")


@app.command()
def revoke(key_id: KeyId, data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """Forget a key: within five seconds it opens nothing, nor do sessions that were opened with it."""
    if not _in_store(data_dir, redis_url, lambda keys: keys.revoke(key_id)):
        raise InvalidRequest(f"there is no key '{key_id}'")
    audit("key_revoked", key=key_id, uid=str(os.getuid()))
    typer.echo(f"{key_id} is revoked")


@app.command()
def rotate(key_id: KeyId, data_dir: DataDir = None, redis_url: RedisUrl = None) -> None:
    """Make another key like this one. The old one goes on until it is revoked."""

    async def renew(keys: RedisKeys) -> tuple[str, ApiKey] | None:
        old = await keys.key(key_id)
        if old is None:
            return None
        text, key = new_key(old.tenant, old.scopes, time.time(), old.label, old.terms)
        await keys.add(key)
        return text, key

    made = _in_store(data_dir, redis_url, renew)
    if made is None:
        raise InvalidRequest(f"there is no key '{key_id}'")
    _note(made[1], in_place_of=key_id)
    typer.echo(made[0])
    typer.echo(f"when everybody uses it: attributor keys revoke {key_id}", err=True)


def _note(key: ApiKey, in_place_of: str | None = None) -> None:
    scopes = ",".join(sorted(key.scopes))
    audit("key_created", key=key.id, tenant=key.tenant, scopes=scopes, in_place_of=in_place_of, uid=str(os.getuid()))


def _line(key: ApiKey) -> str:
    terms = key.terms
    at = datetime.fromtimestamp(key.created_at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    more = [f"weight {terms.weight:g}"]
    more += [f"{terms.max_queued_cost} evaluations waiting"] * (terms.max_queued_cost is not None)
    more += [f"{terms.evaluations_per_hour} evaluations an hour"] * (terms.evaluations_per_hour is not None)
    return f"{key.id}  {at}  {key.tenant}  {','.join(sorted(key.scopes))}  {', '.join(more)}  {key.label}".rstrip()


def _in_store(data_dir: Path | None, redis_url: str | None, step: Callable[[RedisKeys], Awaitable[T]]) -> T:
    settings = given_store(data_dir, redis_url)
    configure_logging(settings.log_level, "keys", settings.log_format)

    async def run() -> T:
        async with open_store(settings, found_url(settings)) as store:
            return await step(RedisKeys(store))

    return asyncio.run(run())
