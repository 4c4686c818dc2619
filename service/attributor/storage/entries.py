"""Jobs on their way into the queue: those that come in one turn of the event loop are stored by one script.

A script costs more to begin than to store one more job (a third less for eight at a time, measured). Knows the
script's arguments but not what they say of a job.
"""

import asyncio
from typing import Any

from attributor.storage.connection import RedisStore
from attributor.storage.keys import ANSWER_TTL_S, IDEMPOTENCY_TTL_S
from attributor.storage.wire import Word

#: Jobs that one script stores at most, and the bytes after which it takes no more. Ours: so that workers begin with the
#: first while others are stored, and the server is never held for long.
_MOST, _LARGE = 16, 1_000_000

Entry = tuple[Word, ...]


class Entries:
    """Puts jobs into the queue, together with those that come at the same time."""

    def __init__(self, store: RedisStore, bounds: tuple[int, ...]) -> None:
        """`bounds`: the first words of the script."""
        self._store = store
        self._before = *bounds, round(IDEMPOTENCY_TTL_S * 1000), round(ANSWER_TTL_S * 1000)
        #: Those of this turn, and their bytes.
        self._entries: list[tuple[Entry, asyncio.Future[Any]]] = []
        self._bytes = 0
        self._sending: set[asyncio.Task[None]] = set()

    async def add(self, entry: Entry) -> Any:
        """What `enqueue.lua` says of a job; `entry`: its arguments for one. Raises as RedisStore does. Whoever is
        cancelled meanwhile does not know whether the job was stored."""
        own: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        entries = self._entries
        entries.append((entry, own))
        self._bytes += sum(len(word) for word in entry if isinstance(word, bytes))
        if len(entries) == _MOST or self._bytes > _LARGE:
            self._entries, self._bytes = [], 0
        if len(entries) > 1:
            return await own
        try:
            await asyncio.sleep(0)  # for the others of this turn
        except asyncio.CancelledError:
            own.cancel()
            raise
        finally:
            if self._entries is entries:
                self._entries, self._bytes = [], 0
            # By a task of its own where there are others, whose end that of this one must not be, and where earlier
            # ones are under way, which come first.
            apart = len(entries) > 1 or bool(self._sending)
            if apart:
                task = asyncio.create_task(self._send(entries))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
        if apart:
            return await own
        [said] = await self._store.run("enqueue", *self._before, *entry)
        return said

    async def _send(self, entries: list[tuple[Entry, asyncio.Future[Any]]]) -> None:
        entries = [each for each in entries if not each[1].done()]
        if not entries:
            return
        words = [word for entry, _ in entries for word in entry]
        try:
            said = await self._store.run("enqueue", *self._before, *words)
            for (_, future), each in zip(entries, said, strict=True):
                if not future.done():
                    future.set_result(each)
        except Exception as error:
            for _, future in entries:
                if not future.done():
                    future.set_exception(error)
