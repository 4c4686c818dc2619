"""One worker process: signals, and the end that a hung pass forces."""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Awaitable, Callable

import uvloop

from attributor.worker import admission, engine_thread

log = logging.getLogger(__name__)

#: sysexits.h EX_SOFTWARE: the supervisor starts another.
EXIT_HUNG = 70


def end_hung() -> None:
    """End this process at once: a thread that hangs in a pass cannot be stopped in any other way."""
    os._exit(EXIT_HUNG)


def run_until_signalled(work: Callable[[asyncio.Event], Awaitable[int]]) -> int:
    """Run `work`; SIGTERM or SIGINT sets the event it is given. Returns what it returns, the exit status."""

    async def main() -> int:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, stop.set)
        return await work(stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(main())
    if running := {thread.name for thread in threading.enumerate()} & {admission.THREAD, engine_thread.THREAD}:
        log.warning("the process ends without waiting for its thread of %s", " and of ".join(sorted(running)))
        logging.shutdown()
        os._exit(status)  # Python would end that thread in the middle of torch's code, which aborts the process
    return status
