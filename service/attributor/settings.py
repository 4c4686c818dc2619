"""Every setting, once: its unit, its default and the reason for it. Only `bootstrap` and the CLI read this.

Set by environment (`ATTRIBUTOR_API__PORT=9000`) or by the CLI's options, which win. Manifests never come here.
"""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_FROZEN = ConfigDict(frozen=True, extra="forbid")

#: Ours: a lease must live through two beats that come too late or not at all.
BEATS_PER_LEASE = 3


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address. A name counts as elsewhere, but `localhost`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


#: As browsers write it (RFC 6454, 6.2): no path, and no wildcard; another would never match.
Origin = Annotated[str, Field(pattern=r"^https?://[a-z0-9.:\[\]_-]+$")]


class ApiSettings(BaseModel):
    """The HTTP process."""

    model_config = _FROZEN

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on. On any other than a loopback address requests need an API key.",
    )
    keys: bool | None = Field(
        None,
        description="Whether requests need an API key (`attributor keys create`). Unset: unless `host` is a loopback "
        "address. Without keys the service starts on a loopback address only.",
    )
    cors_origins: tuple[Origin, ...] = Field(
        (),
        description="Origins of pages elsewhere that may use the API, such as https://dashboard.example.com, as a JSON "
        "list.",
    )
    port: int = Field(8080, ge=1, le=65535, description="TCP port to listen on.")
    processes: int | None = Field(
        None,
        ge=1,
        description="API processes of `attributor serve`, which share the port; unset: two, where there are two cores "
        "(on Linux).",
    )
    max_body_bytes: int = Field(
        16_000_000,
        ge=1_000,
        description="Largest request body, bytes. 4,096 inputs of 4 kB, which is 200 numbers as JSON; a 3x224x224 "
        "tensor as JSON is about 3 MB.",
    )
    max_inputs: int = Field(
        4_096,
        ge=1,
        description="Most inputs in one request: one job, with results that can be read while it runs. More of them "
        "gain nothing, for a pass is full long before; what they cost together is bounded besides.",
    )
    max_wait_s: float = Field(60.0, ge=0, description="Longest `Prefer: wait`, seconds: proxies cut idle requests.")
    predict_timeout_s: float = Field(30.0, gt=0, description="How long `:predict` waits for a worker, seconds.")
    shutdown_grace_s: float = Field(5.0, gt=0, description="Time that open requests get at shutdown, seconds.")


class StoreSettings(BaseModel):
    """Redis or Valkey, and the queue in it."""

    model_config = _FROZEN

    redis_url: str | None = Field(
        None,
        pattern=r"^(redis|rediss|unix)://",
        description="redis://, rediss:// or unix://; unset: the embedded Valkey.",
    )
    data_dir: Path = Field(Path("attributor-data"), description="Where the embedded Valkey keeps its append-only file.")
    namespace: str = Field("attributor", pattern=r"^[A-Za-z0-9_.-]+$", description="Prefix and hash tag of every key.")
    result_ttl_s: int = Field(
        86_400, ge=60, description="How long results are kept, seconds: a day, as batch services do."
    )
    results_dir: Path | None = Field(
        None,
        description="A folder for results of more than 1 MB, which all API processes and workers must see. Unset: they "
        "are kept in the store, in pieces. `attributor serve` with the embedded Valkey takes one in its data_dir.",
    )
    lease_s: float = Field(5.0, ge=1, description="A job whose worker is silent for so long goes to another, seconds.")
    max_attempts: int = Field(
        3,
        ge=1,
        description="A job that lost so many workers, the last one while nothing else was computed there, is put into "
        "quarantine; after one less it is computed alone.",
    )
    max_queued: int = Field(
        10_000,
        ge=1,
        description="Jobs that may wait; above that, 503: a bound on memory. For those of priority `high`, and "
        "predictions, there is an eighth more room.",
    )
    max_queued_cost: int = Field(
        2_000_000,
        ge=1,
        description="Evaluations that may wait; above that, 503. A bound on the wait: what a small model's worker does "
        "in five minutes, and a GPU with a large net in an hour. An eighth more for priority `high`.",
    )
    tenant_part: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Where there are API keys: the most of `max_queued` and `max_queued_cost` that one tenant's jobs "
        "may take; above that, 429.",
    )
    cache_bytes: int = Field(
        64_000_000,
        ge=0,
        description="Most that answers kept for repeated questions take, bytes; those asked for least recently go. "
        "64 MB: the answers to ten thousand rows, or to a hundred photographs. Answers of more than 1 MB are not "
        "shared. 0: every job is computed.",
    )


class WorkerSettings(BaseModel):
    """The computing process."""

    model_config = _FROZEN

    device: str = Field("cpu", description="A torch device; `--devices` gives every process its own.")
    threads: int = Field(
        1, ge=1, description="Threads of torch in each process. One: spinning threads lose beside any busy process."
    )
    processes: int | None = Field(
        None,
        ge=1,
        description="Worker processes on the processor, each with its own copy of the models. Unset: one per core, "
        "eight at most.",
    )
    max_points: int | None = Field(
        None,
        ge=1,
        description="Most path points in one pass. Unset: as many as are measured best, per model, shape and device.",
    )
    recycle_growth_bytes: int | None = Field(
        2 * 2**30,
        ge=64 * 2**20,
        description="A worker that has grown by so much beyond what it held with its models loaded finishes its jobs "
        "and is replaced. Generous: several times what a pass may take.",
    )
    recycle_jobs: int | None = Field(
        None, ge=1, description="The same after so many jobs, for models whose own code leaks. Unset: never."
    )
    model_memory_bytes: int = Field(
        4_000_000_000,
        ge=1_000_000,
        description="Most memory that the models (parameters and buffers) of a worker may take together; those unused "
        "for longest are unloaded, and loaded again when a job wants them. 4 GB: half of a machine of 8 GB, or the "
        "float32 weights of a thousand million numbers.",
    )
    allow_torch_export: bool = Field(
        False,
        description="Whether programs of torch.export (`.pt2`) are loaded. Loading one can run any code that its maker "
        "put into it, so only where every one of them is trusted.",
    )
    trial_timeout_s: float = Field(
        120.0,
        gt=0,
        description="Longest trial of an ONNX file, in a process of its own, before it is loaded, seconds.",
    )
    trial_memory_bytes: int = Field(
        16 * 2**30,
        ge=2**30,
        description="Most address space of such a trial, bytes; torch itself takes two to four GB of it.",
    )
    job_vector_bytes: int = Field(
        200_000_000,
        ge=1_000_000,
        description="Most memory for the vectors of one job, bytes. Fewer of its inputs are then under way at a time, "
        "and parts of a path are summed up early; what cannot do with it ends with `out_of_memory`. 200 MB: 300 nodes "
        "of a picture of 3x224x224.",
    )
    max_active_jobs: int = Field(
        64,
        ge=1,
        description="Jobs computed together: enough to fill a pass with short ones. Of those with priority `high`, and "
        "predictions, a quarter more.",
    )
    heartbeat_file: Path | None = Field(
        None,
        description="A file that is touched every second while the worker lives, whether or not the store answers: for "
        "an orchestrator's probe. Unset: none.",
    )
    beat_s: float = Field(0.5, gt=0, description="Interval of lease renewal, progress and cancellation, seconds.")
    step_timeout_s: float = Field(
        120.0, gt=0, description="A pass longer than this is taken for hung: the worker restarts."
    )
    drain_s: float = Field(
        10.0, gt=0, description="Time that running jobs get at shutdown, seconds; then others get them."
    )
    max_comparators: int = Field(
        1, ge=1, description="Comparators' processes at once: each computes on a core, with its own copy of the model."
    )
    comparator_timeout_s: float = Field(
        600.0, gt=0, description="A comparator's job longer than this fails, seconds: its cost cannot be known before."
    )


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="ATTRIBUTOR_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    models_dir: Path = Field(Path("models"), description="The folder of bundles: `<name>/<version>/manifest.toml`.")
    models_rescan_s: float = Field(
        2.0,
        gt=0,
        description="How often the API and the workers look for new, changed and removed bundles, seconds. "
        "Where nothing changed, a look reads no file.",
    )
    log_level: str = Field("info", pattern=r"^(debug|info|warning|error)$", description="What the log shows.")
    log_format: Literal["text", "json"] = Field(
        "text", description="Lines for people, or JSON objects, one a line, with the job's id where one is meant."
    )
    api: ApiSettings = ApiSettings()
    store: StoreSettings = StoreSettings()
    worker: WorkerSettings = WorkerSettings()

    @property
    def needs_keys(self) -> bool:
        """Whether requests need an API key."""
        return not is_loopback(self.api.host) if self.api.keys is None else self.api.keys

    @model_validator(mode="after")
    def _nobody_else_without_keys(self) -> Self:
        """An open port on a network is an open door to every model and every job."""
        if not self.needs_keys and not is_loopback(self.api.host):
            raise ValueError(
                f"api.host {self.api.host} is not a loopback address, and there the service runs with API keys only; "
                "leave api.keys unset, and make a key with `attributor keys create`"
            )
        return self

    @model_validator(mode="after")
    def _leases_outlast_beats(self) -> Self:
        """A worker that beats too seldom would lose every job that it computes."""
        if self.worker.beat_s * BEATS_PER_LEASE > self.store.lease_s:
            raise ValueError(f"worker.beat_s may be at most store.lease_s / {BEATS_PER_LEASE}")
        return self
