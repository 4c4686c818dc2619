"""What is asked of every queue, and what its workers do. Knows none of them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

#: Where the store is, for clients and workers alike.
URL = "QUEUE_BENCHMARK_URL"

#: Jobs of one worker process that may be under way, where it can have several; and enqueued at once by a client.
AT_ONCE = 64

#: A worker silent for so long loses its jobs, seconds: the same for all, our default.
LEASE_S = 5

#: How long results are kept, seconds: the same for all, our default.
RESULT_TTL_S = 86_400

_HELD = "held"


class Party(Protocol):
    """A client of a queue, and how its workers are started."""

    name: str
    #: Whether a job outlives the worker that has it.
    keeps: bool
    #: Of one worker process.
    command: tuple[str, ...]

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """The opposite."""

    async def ask(self) -> None:
        """A job that does nothing: returns when its result is seen."""

    async def hold(self, folder: Path) -> None:
        """A job that hangs in the first worker that gets it (`hangs`): returns when its result is seen."""

    async def ask_all(self, n: int) -> None:
        """So many jobs that do nothing, as fast as they can be enqueued: returns when all results are seen."""

    async def put(self, n: int) -> None:
        """So many jobs that do nothing; for nobody."""


def url() -> str:
    """Of the store."""
    return os.environ[URL]


def hangs(folder: str) -> bool:
    """Whether this process is the first to get the job of that folder; it says who it is, and should hang."""
    try:
        with (Path(folder) / _HELD).open("x") as mark:
            mark.write(str(os.getpid()))
    except FileExistsError:
        return False
    return True


def holder(folder: Path) -> int | None:
    """The process that hangs, if one does."""
    mark = folder / _HELD
    text = mark.read_text() if mark.exists() else ""
    return int(text) if text else None


def environment(store_url: str) -> Mapping[str, str]:
    """Of the workers."""
    return {**os.environ, URL: store_url}
