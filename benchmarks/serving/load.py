"""A closed loop of clients on kept-alive connections: each sends its next request when the last one is answered.

Raw sockets under uvloop, prepared requests, answers kept as bytes and read after the clock has stopped: what the load
costs is taken from the same cores. Knows HTTP only as far as a server that is asked for JSON speaks it.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import uvloop

HTTP_OK = 200
#: With more answers than this, what a window cuts off at its ends does not matter.
_MANY = 200
#: A run waits so many times its seconds for slow answers, at most.
_PATIENCE = 5
_LOOK_S = 0.02


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: to which of the prepared requests, when (seconds of the run's clock), and what."""

    request: int
    began_s: float
    ended_s: float
    status: int
    body: bytes


@dataclass(slots=True)
class Run:
    """The answers of one run, warm-up excluded, and how many inputs each request carried."""

    answers: list[Answer]
    inputs_per_request: int
    seconds: float
    failures: list[str] = field(default_factory=list)
    #: Answers with the warm-up's and those after the clock had stopped, and processor time of the server for them.
    all_answers: int = 0
    cpu_s: float = 0.0

    @property
    def cpu_ms(self) -> float:
        """Processor time of all of the server's processes per input, milliseconds: what other work on the machine
        changes least."""
        return 1e3 * self.cpu_s / (self.all_answers * self.inputs_per_request) if self.all_answers else float("nan")

    @property
    def rate(self) -> float:
        """Inputs explained per second."""
        return len(self.answers) * self.inputs_per_request / self.seconds if self.seconds else 0.0

    def latency_ms(self, share: float) -> float:
        """A quantile of the latencies, milliseconds; not a number without answers."""
        times = sorted(answer.ended_s - answer.began_s for answer in self.answers)
        return 1e3 * times[min(len(times) - 1, int(share * len(times)))] if times else float("nan")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a run is: warm-up and measured seconds, and how many answers a client must have had by then."""

    warm_s: float
    seconds: float
    answers_each: int = 0


def prepared(path: str, bodies: Sequence[bytes], headers: str = "") -> list[bytes]:
    """Whole requests, so that a client has nothing to do but to send them."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{headers}Content-Length: "
    return [head.encode() + b"%d\r\n\r\n" % len(body) + body for body in bodies]


def run(ports: Sequence[int], requests: Sequence[bytes], clients: int, pace: Pace, inputs_per_request: int = 1) -> Run:
    """Drives the clients, shared evenly among the ports, and returns what was answered after the warm-up."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(ports, requests, clients, pace, inputs_per_request))


async def _run(
    ports: Sequence[int], requests: Sequence[bytes], clients: int, pace: Pace, inputs_per_request: int
) -> Run:
    loop = _Loop(requests)
    tasks = [asyncio.create_task(loop.client(ports[number % len(ports)])) for number in range(clients)]
    began = time.perf_counter()
    await _until(loop, tasks, began, pace.warm_s, clients if pace.answers_each else 0)
    warm, first = time.perf_counter(), len(loop.answers)
    await _until(loop, tasks, warm, pace.seconds, pace.answers_each * clients)
    ended = time.perf_counter()
    counted = list(loop.answers)
    loop.stopped = True
    ends = await _drained(tasks, _PATIENCE * (pace.warm_s + pace.seconds))
    failures = loop.failures + [repr(end) for end in ends if isinstance(end, Exception)]
    run = Run(counted[first:], inputs_per_request, ended - warm, failures, len(loop.answers))
    return _few(run, loop, clients, warm, ended)


async def _until(loop: "_Loop", tasks: list[asyncio.Task[None]], began: float, seconds: float, answers: int) -> None:
    """Waits for the seconds, and on for slow answers while clients are alive."""
    first = len(loop.answers)
    await asyncio.sleep(max(0.0, began + seconds - time.perf_counter()))
    for _ in range(int(_PATIENCE * seconds / _LOOK_S)):
        if len(loop.answers) - first >= answers or all(task.done() for task in tasks):
            return
        await asyncio.sleep(_LOOK_S)


async def _drained(tasks: list[asyncio.Task[None]], seconds: float) -> list[BaseException | None]:
    """Lets every client have its last answer, so that no server computes on for nobody beside the next run."""
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


def _few(run: Run, loop: "_Loop", clients: int, warm: float, ended: float) -> Run:
    """With few answers, counting them in a window is off by those that batches bring together. In a closed loop the
    rate is clients / mean latency (Little 1961), so the seconds of the run are the sum of latencies by clients."""
    if len(run.answers) > _MANY:
        return run
    begun = [answer for answer in loop.answers if warm <= answer.began_s < ended]
    waited = sum(answer.ended_s - answer.began_s for answer in begun)
    return replace(run, answers=begun, seconds=waited / clients)


class _Loop:
    """What the clients share: whose turn which request is, and the answers."""

    def __init__(self, requests: Sequence[bytes]) -> None:
        self._requests = requests
        self._next = 0
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        self.stopped = False

    async def client(self, port: int) -> None:
        running = asyncio.get_running_loop()
        transport, client = await running.create_connection(lambda: _Client(self), "127.0.0.1", port)
        try:
            await client.done
        finally:
            transport.close()

    def next_request(self) -> tuple[int, bytes]:
        request = self._next % len(self._requests)
        self._next += 1
        return request, self._requests[request]


class _Client(asyncio.Protocol):
    """Asks, reads the answer, and asks again."""

    def __init__(self, shared: _Loop) -> None:
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self.done = self._loop.create_future()
        self._received = bytearray()
        self._end = 0  # of the answer; 0 while its head is not there

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._end:
            self._begin = self._received.find(b"\r\n\r\n") + 4
            if self._begin < 4:
                return
            head = bytes(self._received[: self._begin]).lower()
            place = head.index(b"content-length:") + 15
            self._end = self._begin + int(head[place : head.index(b"\r\n", place)])
        if len(self._received) >= self._end:
            self._answered(int(self._received[9:12]), bytes(self._received[self._begin : self._end]))

    def _ask(self) -> None:
        if self._shared.stopped:
            if not self.done.done():
                self.done.set_result(None)
            return
        self._received.clear()
        self._end = 0
        self._request, message = self._shared.next_request()
        self._began_s = time.perf_counter()
        self._transport.write(message)

    def _answered(self, status: int, body: bytes) -> None:
        if status == HTTP_OK:
            self._shared.answers.append(Answer(self._request, self._began_s, time.perf_counter(), status, body))
            self._ask()
        else:
            self._shared.failures.append(f"{status}: {body[:200]!r}")
            self._loop.call_later(0.05, self._ask)  # a server that refuses must not be hammered


def joined(runs: Sequence[Run]) -> Run:
    """The runs of several rounds as one."""
    return Run(
        answers=[answer for run in runs for answer in run.answers],
        inputs_per_request=runs[0].inputs_per_request,
        seconds=sum(run.seconds for run in runs),
        failures=[failure for run in runs for failure in run.failures],
        all_answers=sum(run.all_answers for run in runs),
        cpu_s=sum(run.cpu_s for run in runs),
    )


def spread(runs: Sequence[Run]) -> float:
    """How far the rounds' rates lie apart, relative to their mean."""
    rates = [run.rate for run in runs]
    mean = statistics.fmean(rates)
    return (max(rates) - min(rates)) / mean if mean else 0.0
