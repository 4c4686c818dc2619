"""Changes of jobs, from the event stream: one reader task per process, fanned out to its subscribers.

Of changes it knows job ids only; what changed stands in the record, which the subscriber reads. So a wake-up too many
does no harm, and wake-ups that pile up become one. Small answers that are waited for here are sent as well, on a
channel of this process; one that is lost is fetched.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Self
from uuid import uuid4

from redis.exceptions import ResponseError

from attributor.errors import StoreUnavailable
from attributor.jobs.codec import decode_result
from attributor.jobs.state import TERMINAL
from attributor.ports import Sent
from attributor.storage.connection import MAX_BLOCK_S, RedisStore

#: Entries read at once: ours; bounds the time between two turns of the event loop.
_BATCH = 1000
#: Pause before the reader connects again: ours, a few tries during a server's restart (0.1 to 0.6 s, measured).
_RECONNECT_S = 0.1

#: Pause before the next changes are read: ours, so that those of a small job, which begins and ends within a few
#: milliseconds, wake this process once. Answers that are sent do not wait for it.
_PAUSE_S = 0.004
#: While nobody waits here, changes are read as rarely as this: whoever comes finds few that he has to pass over.
_REST_S = 0.1

#: Ends remembered: ours, several seconds of what one server's jobs can end with.
_REMEMBERED = 10_000

#: Answers kept that came before who waits for them: ours, as many as may be sent in one turn of the event loop.
_KEPT = 256

#: What an entry says of a job that will not change any more.
_ENDS = frozenset((b"erased", *(state.value.encode() for state in TERMINAL)))

#: Pause before a cancellation that was dropped is sent again: ours, a write takes far less.
_RECANCEL_S = 0.05

_log = logging.getLogger(__name__)


class _Subscription:
    """Port Changes: wakes once for all changes since it woke last. Is an async context, and counts while it is entered.

    One task waits at a time, for which a future and a timer do: an event under `asyncio.timeout` costs twice as much.
    """

    def __init__(self, events: "RedisJobEvents", job_id: str, *, ends_only: bool) -> None:
        self._events = events
        self.job_id = job_id
        self.ends_only = ends_only
        #: The message with the answer.
        self.message: bytes | None = None
        self._changed = False
        self._waiter: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        self._events.enter(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._events.leave(self)

    def wake(self) -> None:
        self._changed = True
        if self._waiter is not None:
            _end(self._waiter)

    def sent(self) -> Sent | None:
        """See the port."""
        if self.message is None:
            return None
        try:
            _, revision, attempts, *times_ms, result = self.message.split(b" ", 7)
            created_at, started_at, finished_at, expires_at = (int(each) / 1000 for each in times_ms)
            found = decode_result(result)
            return Sent(int(revision), int(attempts), created_at, started_at, finished_at, expires_at, found)
        except ValueError:  # another release's, and whoever asks for it hears so
            return None

    async def wait(self, timeout_s: float) -> bool:
        """See the port."""
        if not self._changed:
            loop = asyncio.get_running_loop()
            waiter = self._waiter = loop.create_future()
            timer = loop.call_later(timeout_s, _end, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                self._waiter = None
        changed, self._changed = self._changed, False
        return changed


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class RedisJobEvents:
    """Port JobEvents. Use as an async context, or start() and stop()."""

    def __init__(self, store: RedisStore) -> None:
        # Losses must be seen at once, for the subscribers' sake, so nothing is retried below this class.
        self._store = store.unretried()
        self._stream = self._store.keys.key("events")
        self._subscriptions: dict[str, set[_Subscription]] = {}
        self._reader: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        #: Ids of jobs that ended lately, oldest first: who has just queued one may come too late to be told. Ordered,
        #: because a plain dict looks for its first key among all that were taken from there.
        self._ended: OrderedDict[str, None] = OrderedDict()
        #: Somebody waits for changes.
        self._wanted = asyncio.Event()
        self._desk = uuid4().hex
        #: It has been said that the server lets this user subscribe to nothing.
        self._said_refused = False
        self._listens: Callable[[], bool] = lambda: False
        #: Answers that nobody has asked for yet, oldest first.
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    @property
    def reading(self) -> bool:
        """See the port."""
        return self._reader is not None and not self._reader.done()

    @property
    def desk(self) -> str | None:
        """See the port."""
        return self._desk if self._listens() else None

    async def start(self) -> None:
        """Begin to read; changes made after the return are not missed. Where the store does not answer, it is tried
        again until it does."""
        last = None
        try:
            last = await self._newest()
        except StoreUnavailable as error:
            _log.warning("the job store is not there (%s); trying again until it is", error.__cause__)
        await self._listen()
        self._reader = asyncio.create_task(self._read_from(last), name="attributor-events")
        self._keeper = asyncio.create_task(self._keep_listening(), name="attributor-desk")

    async def stop(self) -> None:
        """End the reader, after waking all subscribers."""
        tasks = [each for each in (self._reader, self._keeper) if each is not None]
        self._reader = self._keeper = None
        for task in tasks:
            while not task.done():
                # Again and again: redis-py writes under asyncio.wait_for, which in Python 3.11 drops a cancellation
                # that arrives as its own wait ends.
                task.cancel()
                await asyncio.wait([task], timeout=_RECANCEL_S)
        await self._store.close()
        for task in tasks:
            if not task.cancelled():
                task.result()  # one that ended by itself died of a defect: let it be seen

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def subscribe(self, job_id: str, *, ends_only: bool = False) -> _Subscription:
        """See the port."""
        return _Subscription(self, job_id, ends_only=ends_only)

    def enter(self, subscription: _Subscription) -> None:
        """From now on it is told. Raises RuntimeError outside start() and stop()."""
        if not self.reading:
            raise RuntimeError("the events are not started, or their reader has died; see the log")
        job_id = subscription.job_id
        if subscription.ends_only:
            subscription.message = self._kept.pop(job_id, None)
            if subscription.message is not None or job_id in self._ended:
                subscription.wake()
        self._subscriptions.setdefault(job_id, set()).add(subscription)
        self._wanted.set()

    def leave(self, subscription: _Subscription) -> None:
        """From now on it is not."""
        peers = self._subscriptions[subscription.job_id]
        peers.discard(subscription)
        if not peers:
            del self._subscriptions[subscription.job_id]

    async def _read_from(self, last: str | None) -> None:
        try:
            if last is None:
                last = await self._reconnect()
            while True:
                try:
                    last, before = await self._pass_on(last), last
                    if last != before:
                        await self._pause()
                except StoreUnavailable as error:
                    _log.warning("lost the job store (%s); connecting again", error.__cause__)
                    last = await self._reconnect()
                except Exception:  # without its reader the service answers nobody, whatever is wrong with one entry
                    _log.exception("cannot read the events; connecting again")
                    last = await self._reconnect()
        finally:
            for subscription in self._all():
                subscription.wake()

    async def _pause(self) -> None:
        await asyncio.sleep(_PAUSE_S)
        if not self._subscriptions:
            self._wanted.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_REST_S):
                    await self._wanted.wait()

    async def _pass_on(self, last: str) -> str:
        """Wake the subscribers of what comes after `last`; returns the id of the entry passed on last."""
        block_ms = round(MAX_BLOCK_S * 1000)
        streams = await self._store.block(("XREAD", "COUNT", _BATCH, "BLOCK", block_ms, "STREAMS", self._stream, last))
        for entry_id, fields in streams[0][1] if streams else ():
            last = entry_id.decode()
            for job_id, state in zip(fields[::2], fields[1::2], strict=True):
                self._wake(job_id.decode(), ended=state in _ENDS)
        return last

    def _wake(self, job_id: str, *, ended: bool) -> None:
        if ended:
            self._ended[job_id] = None
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)
        for subscription in self._subscriptions.get(job_id, ()):
            if ended or not subscription.ends_only:
                subscription.wake()

    def _deliver(self, message: bytes) -> None:
        """An answer to those who wait for it, or to who will."""
        job_id = message.partition(b" ")[0].decode(errors="replace")
        waiting = [each for each in self._subscriptions.get(job_id, ()) if each.ends_only]
        for subscription in waiting:
            subscription.message = message
            subscription.wake()
        if not waiting:
            self._kept[job_id] = message
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    async def _reconnect(self) -> str:
        """Wait for the server; what happened meanwhile is unknown, so wake everyone."""
        while True:
            await asyncio.sleep(_RECONNECT_S)
            try:
                last = await self._newest()
            except StoreUnavailable:
                continue
            except Exception:
                _log.exception("cannot connect to the events again")
                continue
            for subscription in self._all():
                subscription.wake()
            return last

    async def _keep_listening(self) -> None:
        """Beside the reader: answers that are not sent are fetched, changes that are not read are lost."""
        while True:
            await asyncio.sleep(MAX_BLOCK_S)
            await self._listen()

    async def _listen(self) -> None:
        """At the desk, for what is sent there; if it is not listened to already."""
        if self._listens():
            return
        try:
            self._listens = await self._store.listen(self._store.keys.key("desk", self._desk), self._deliver)
        except StoreUnavailable as error:  # what is sent then is fetched
            if isinstance(error.__cause__, ResponseError) and not self._said_refused:
                self._said_refused = True
                _log.warning("the job store sends no answers, so they are fetched: %s", error.__cause__)

    async def _newest(self) -> str:
        entries = await self._store.call("XREVRANGE", self._stream, "+", "-", "COUNT", 1)
        return str(entries[0][0].decode()) if entries else "0-0"

    def _all(self) -> list[_Subscription]:
        return [subscription for peers in self._subscriptions.values() for subscription in peers]
