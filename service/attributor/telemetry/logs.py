"""Logging set-up, the same for every process of the service: lines for people, or JSON for machines."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

#: What records of the task at hand are about: `job_id`, `trace_id` and the like. A call of a logger may say so as
#: well, by `extra`, which wins.
_about: ContextVar[dict[str, str]] = ContextVar("about", default={})  # noqa: B039  # never changed, only replaced
#: What a record may carry besides, by `extra`.
FIELDS = ("job_id", "trace_id", "span_id", "worker_id")


@contextmanager
def logging_about(**fields: str) -> Iterator[None]:
    """What is logged within is about these."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def configure_logging(level: str, process: str, form: str = "text") -> None:
    """Log to standard error, one line a record, with the name of the process: `api`, `worker`, `serve`. `form`: `text`,
    or `json`, one object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter(process)
        if form == "json"
        else logging.Formatter(f"%(asctime)s {process:<6} %(levelname)-7s %(name)s: %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its start and stop lines say what ours say.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


class JsonFormatter(logging.Formatter):
    """A record as an object: `time` (RFC 3339, UTC), `level`, `process`, `logger`, `message`, those of FIELDS that it
    is about, and `exception`, a traceback."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        document: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **_about.get(),
        }
        document |= {name: value for name in FIELDS if (value := getattr(record, name, None)) is not None}
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        # Texts may quote a client, lone surrogates included, which have no UTF-8.
        return orjson.dumps({name: _written(value) for name, value in document.items()}).decode()


def _written(value: object) -> str:
    return str(value).encode(errors="backslashreplace").decode()
