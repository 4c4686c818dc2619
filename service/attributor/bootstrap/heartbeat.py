"""A file that says to an orchestrator that a process lives: touched by its event loop, and by nothing else."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

#: Ours: a tenth of what probes let pass.
EVERY_S = 1.0

log = logging.getLogger(__name__)


@asynccontextmanager
async def heartbeat(file: Path | None) -> AsyncIterator[None]:
    """Touch the file every second within the context; nothing where none is named. One that cannot be written is logged
    once: the probe then says that the process is dead."""
    if file is None:
        yield
        return
    beating = asyncio.create_task(_beat(file))
    try:
        yield
    finally:
        beating.cancel()


async def _beat(file: Path) -> None:
    try:
        while True:
            await asyncio.to_thread(file.touch)
            await asyncio.sleep(EVERY_S)
    except OSError as error:
        log.error("worker.heartbeat_file cannot be written: %s", error)
