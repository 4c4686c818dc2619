"""Results that are too large for one command to the store: in pieces beside it, or in files of this machine.

A server of Redis' kind serves one command at a time: with a result of 50 MB in one, all others wait a third of a second
(benchmarks/results_store.py). Where a result lies stands in its job's record, so it is there once the job has
ended with it, and whole or not at all: what is read is held against its length and checksum.
"""

import asyncio
import os
import re
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

from attributor.storage.connection import RedisStore

#: Larger results do not go into the command that ends their job. Ours: as answers that are shared, which scripts copy
#: (SHARED_LARGEST_BYTES); others wait some 5 ms for it.
INLINE_BYTES = 1_000_000
#: Of a piece. Ours: the server is held for 0.2 ms by each, and a trip costs as much.
PIECE_BYTES = 256 * 1024
#: What was written of a result whose job did not end with it goes after so long. Ours: much longer than writing takes.
ABANDONED_S = 600.0

_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a result lies, as its job's record says: a name, the bytes and their CRC-32."""

    name: str
    n_bytes: int
    checksum: int

    @classmethod
    def of(cls, name: str, data: bytes) -> Self:
        """The place of these bytes."""
        return cls(name, len(data), zlib.crc32(data))

    @classmethod
    def read(cls, text: bytes) -> Self:
        """As `str` wrote it."""
        name, n_bytes, checksum = text.decode().split(" ")
        return cls(name, int(n_bytes), int(checksum))

    def __str__(self) -> str:
        return f"{self.name} {self.n_bytes} {self.checksum}"

    def holds(self, data: bytes) -> bool:
        """Whether these bytes are the ones."""
        return len(data) == self.n_bytes and zlib.crc32(data) == self.checksum


class ResultPieces:
    """Port ResultStore, in the store itself."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def put(self, name: str, data: bytes) -> str:
        """See the port."""
        view = memoryview(data)
        for number, begin in enumerate(range(0, len(data), PIECE_BYTES)):
            piece = bytes(view[begin : begin + PIECE_BYTES])
            await self._store.run("put", name, number, piece, round(ABANDONED_S * 1000))
        return str(await asyncio.to_thread(Place.of, name, data))

    async def get(self, place: bytes) -> bytes | None:
        """See the port."""
        told = Place.read(place)
        key, pieces = self._store.keys.key("pieces", told.name), []
        for number in range(-(-told.n_bytes // PIECE_BYTES)):
            piece = await self._store.call("HGET", key, number)
            if piece is None:
                return None
            pieces.append(piece)
        data = b"".join(pieces)
        return data if await asyncio.to_thread(told.holds, data) else None

    async def drop(self, place: bytes) -> None:
        """See the port."""
        await self._store.call("UNLINK", self._store.keys.key("pieces", Place.read(place).name))

    async def sweep(self) -> None:
        """See the port: the server does it."""


class ResultFiles:
    """Port ResultStore, in a folder that all processes of the service see. `ttl_s`: how long results are kept at the
    most."""

    def __init__(self, folder: Path, ttl_s: float) -> None:
        self._folder = folder
        self._kept_s = ttl_s + ABANDONED_S
        self._swept_at_s = float("-inf")

    async def put(self, name: str, data: bytes) -> str:
        """See the port."""
        return str(await asyncio.to_thread(self._write, _file_name(name), data))

    async def get(self, place: bytes) -> bytes | None:
        """See the port."""
        return await asyncio.to_thread(self._read, Place.read(place))

    async def drop(self, place: bytes) -> None:
        """See the port."""
        await asyncio.to_thread((self._folder / Place.read(place).name).unlink, missing_ok=True)

    async def sweep(self) -> None:
        """See the port. Looks once in a while only."""
        if time.monotonic() - self._swept_at_s > ABANDONED_S / 10:
            self._swept_at_s = time.monotonic()
            await asyncio.to_thread(self._sweep)

    def _write(self, name: str, data: bytes) -> Place:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        coming = self._folder / f"{name}.{uuid4().hex}.part"
        try:
            coming.write_bytes(data)
            coming.replace(self._folder / name)
        finally:
            coming.unlink(missing_ok=True)
        return Place.of(name, data)

    def _read(self, place: Place) -> bytes | None:
        try:
            data = (self._folder / place.name).read_bytes()
        except FileNotFoundError:
            return None
        return data if place.holds(data) else None

    def _sweep(self) -> None:
        with suppress(FileNotFoundError):
            for entry in os.scandir(self._folder):
                with suppress(FileNotFoundError):
                    if time.time() - entry.stat().st_mtime > self._kept_s:
                        Path(entry.path).unlink()


def _file_name(name: str) -> str:
    """No name leads out of the folder."""
    made = name.replace(":", "-")
    if not _NAME.fullmatch(made):
        raise ValueError(f"{name!r} cannot be the name of a file")
    return made
