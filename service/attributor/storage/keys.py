"""Every Redis key and lifetime, in one place; the Lua scripts get them from here.

All keys carry one hash tag, `{namespace}`, so they share a slot and a script may touch any of them, also on a
cluster. Knows no commands. Tenant names must hold no colon: it separates the parts of a key.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

#: Key names; what follows a colon is written in angle brackets.
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "job": "job:",  # <id>: hash, the record
        "payload": "payload:",  # <id>: bytes, the spec, unless it is large
        "result": "result:",  # <id>: bytes, unless they are large
        "pieces": "pieces:",  # <name>: hash of numbers to the pieces of a large result, or of a large spec (<id>)
        "ready": "t:",  # <line>:<tenant>: zset of queued ids by seq
        "ring": "ring:",  # <line>: zset of tenants with queued jobs, by the virtual time at which their next one begins
        "paid": "paid:",  # <line>: zset of tenants without, by the virtual time up to which they were served
        "virtual": "virtual",  # hash of lines to their virtual time, and of owed:<line> to what it owes those below
        "suspects": "suspects",  # zset of queued ids that are to be computed alone, by rank
        "vacating": "vacating",  # name of the worker that takes nothing more until it is empty, for a suspect
        "quarantine": "quarantine",  # zset of the ids of jobs that killed a worker alone by expiry, ms
        "costs": "costs",  # hash of tenants to the evaluations that wait for a worker
        "queued_of": "queued_of",  # hash of tenants to the number of their queued jobs
        "asked": "asked:",  # <hour>: hash of tenants with a quota to the evaluations they asked for
        # hash: per_s, evaluations done in a second while jobs wait; at_ms, done: when that was measured; looked_ms:
        # when somebody looked for leases that had run out
        "pace": "pace",
        "index": "index:",  # <tenant>: zset of the attribution jobs' ids by seq, for listing
        "idem": "idem:",  # <tenant>:<idempotency key>: hash of id and fingerprint
        "claim": "claim:",  # <nonce>: list of the ids that one claim took, for its repetition
        "leases": "leases",  # zset of running ids by lease end, ms
        "partial": "partial:",  # <id>: hash of what a running job has so far, or one had that failed, in messages
        "flight": "flight:",  # <content key>: id of the job that is computed for all of that content
        "followers": "followers:",  # <content key>: zset of ids that wait for that job's end, by rank
        "answer": "answer:",  # <content key>: bytes of a result, for jobs that ask for the same
        "answers": "answers",  # zset of <content key> of the answers kept by their expiry, ms
        "answers_bytes": "answers_bytes",  # what the answers kept take
        "deadlines": "deadlines",  # zset of the ids of queued jobs that have a deadline by it, ms
        "expiring": "expiring",  # zset of <tenant>:<id> by expiry, ms: index entries to prune
        "seq": "seq",  # the last number given to a job
        # hash: queued, running; cost, cost:<line>: evaluations that wait; done, redelivered, quarantined: ever
        "counters": "counters",
        "waiting": "waiting:",  # <prefix of lines>: zset of the names of those who wait, who is next having most
        "rung": "rung",  # hash of the names of those who were woken and have not claimed since to when, ms
        "bell": "bell:",  # <name>: list of a token that wakes who waits under it
        "desk": "desk:",  # <name>: channel for the answers that somebody waits for there
        "events": "ev",  # stream: ids and their states, one entry per script that changed any
        "keys": "keys",  # hash of ids of API keys to what is kept of them
        "session": "session:",  # <digest>: id of the key that a browser signed in with
        "workers": "workers",  # zset of worker ids by last beat, ms
        "models": "models",  # hash of name@version to the newest report
        "metrics": "metrics",  # hash: what processes have counted, as telemetry/metrics.py names it
        "tallied": "tallied:",  # <nonce>: that what was counted under it is there
    }
)

#: Served in this order.
PRIORITIES = (0, 1, 2)

#: A job stands in the line of its priority; comparators' jobs stand in lines of their own, beside the others, so that
#: neither waits for what only holds up the other. The record keeps the line under the name `priority`.
COMPARISON_LINE = "c"


def line(priority: int, *, comparison: bool) -> str:
    """The line in which a job stands."""
    return f"{COMPARISON_LINE if comparison else ''}{priority}"


#: A retry under the same key finds its job for so long; 24 h is what clients of payment APIs are used to.
IDEMPOTENCY_TTL_S = 86_400.0

#: Finished attribution jobs stay for a day: ours, so that a link sent in the morning still opens next morning.
RESULT_TTL_S = 86_400.0

#: An answer that nobody asks for again is kept for so long: ours, as long as a job's own.
ANSWER_TTL_S = RESULT_TTL_S

#: Predictions are awaited by the request that made them; ours, ten times its longest sensible wait.
PREDICTION_TTL_S = 300.0

#: A worker that has not beaten for so long counts as gone: ours, as long as its jobs' leases last by default.
WORKER_ALIVE_S = 5.0

#: Entries kept in the stream, about: ours, a minute of the 150 changes a second of a busy GPU worker.
EVENTS_KEPT = 10_000

#: Nobody waits longer without a word. One that has said so for longer has died, and is not woken.
WAITING_S = 3.0
#: Who was woken claims sooner. Ours: a worker gathers jobs for 2 ms and may have to wait for a core; by then another is
#: woken for the next job.
ON_ITS_WAY_S = 0.05

#: Results of inputs that are done, and estimates, are asked for again within a few seconds by whoever watches a job.
WATCHED_S = 5.0

#: Charged to an answer kept beside its bytes: ours, about what its two keys and their entries take.
ANSWER_OVERHEAD_BYTES = 300

#: Answers larger than this are not shared: every job has a copy of its own, and a small request that is repeated, or
#: asked by many at once, would fill the store with them. Ours: that of a photograph takes 0.6 MB.
SHARED_LARGEST_BYTES = 1_000_000
#: What one script hands out to those who wait for the same answer; the rest are answered by the next claim. Ours: both
#: hold the server for some 20 ms, and memory grows by no more before it is looked at again.
SHARED_TOTAL_BYTES = 16_000_000
SHARED_MOST = 1000

#: Larger answers are fetched by whoever waits for them, not sent. Ours: a small table's with one input takes 3 kB; a
#: hundred of these, which somebody may have stopped to wait for, are held.
SENT_LARGEST_BYTES = 64_000

#: What of a job counts when a worker takes as much as it has room for: a long one steps back behind others in the
#: engine after its first points (engine.fairness.HEAD_START), and must not keep them out.
CLAIMED_AT_ONCE = 64

#: Of what is handed out, a sixteenth goes to all lower lines together, so that none starves: as in the engine
#: (engine.virtual_time.ABOVE, BELOW).
ABOVE_TO_BELOW = 15

#: Beyond every bound, jobs of priority 0 find so much more room, as a part of it: else whoever fills the queue with
#: other jobs would keep out those that need not wait behind them (55 of 60 predictions at ten times overload).
#: Ours: predictions count a third of an evaluation, so that this is room for many, and memory grows by no more.
ROOM_OF_URGENT = 0.125

#: Retry-After where nothing is known of the workers, or they would take longer, ms. Ours: a client that comes once a
#: minute is no load.
SLOWEST_MS = 60_000

_NAMESPACE = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one namespace. Raises ValueError for a namespace that would break the hash tag."""

    namespace: str

    def __post_init__(self) -> None:
        if not _NAMESPACE.fullmatch(self.namespace):
            raise ValueError(f"namespace {self.namespace!r} may hold letters, digits, '_', '.' and '-' only")

    @property
    def prefix(self) -> str:
        """What all keys begin with."""
        return f"{{{self.namespace}}}:"

    def key(self, name: str, *parts: str) -> str:
        """The key of that name in NAMES, with its parts."""
        return self.prefix + NAMES[name] + ":".join(parts)


def lua_constants() -> str:
    """NAMES and the limits as Lua locals, to stand before each script."""
    names = ", ".join(f"{name} = '{text}'" for name, text in NAMES.items())
    return (
        f"local NAMES = {{ {names} }}\n"
        f"local PRIORITIES, COMPARISON_LINE = {{ {', '.join(map(str, PRIORITIES))} }}, '{COMPARISON_LINE}'\n"
        f"local EVENTS_KEPT, WORKER_ALIVE_MS = {EVENTS_KEPT}, {round(WORKER_ALIVE_S * 1000)}\n"
        f"local WAITING_MS, ON_ITS_WAY_MS = {round(WAITING_S * 1000)}, {round(ON_ITS_WAY_S * 1000)}\n"
        f"local WATCHED_MS, ANSWER_OVERHEAD = {round(WATCHED_S * 1000)}, {ANSWER_OVERHEAD_BYTES}\n"
        f"local SHARED_LARGEST, SHARED_TOTAL = {SHARED_LARGEST_BYTES}, {SHARED_TOTAL_BYTES}\n"
        f"local SHARED_MOST, SENT_LARGEST = {SHARED_MOST}, {SENT_LARGEST_BYTES}\n"
        f"local ROOM_OF_URGENT = {ROOM_OF_URGENT}\n"
        f"local CLAIMED_AT_ONCE, ABOVE_TO_BELOW, SLOWEST_MS = {CLAIMED_AT_ONCE}, {ABOVE_TO_BELOW}, {SLOWEST_MS}\n"
    )
