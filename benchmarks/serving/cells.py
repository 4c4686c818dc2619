"""What is measured of a model: cells of clients and inputs per request, every party in each, in turns."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving import load
from benchmarks.serving.fairness import Fairness, fairness
from benchmarks.serving.load import Pace, Run
from benchmarks.serving.parties import OURS, Party, Question
from benchmarks.serving.passes import Limit
from benchmarks.serving.processes import DidNotStart, Server, watched
from benchmarks.serving.questions import Checked, Questions, checked

LARGE = ("encoder", "cnn224", "resnet50", "googlenet")
MANY = 64
STEPS = 50
MEMORY_CLIENTS = 8
_MEMORY_S = 2.0


@dataclass(frozen=True, slots=True)
class Cell:
    """So many clients, whose requests carry so many inputs."""

    clients: int
    inputs: int = 1
    ours_only: bool = False


def cells(model: str) -> tuple[Cell, ...]:
    if model in LARGE:
        return (Cell(1), Cell(MEMORY_CLIENTS), Cell(32, ours_only=True))
    return (Cell(1), Cell(MEMORY_CLIENTS), Cell(32), Cell(128), Cell(16, MANY))


@dataclass(frozen=True, slots=True)
class Contender:
    """A party, and with how many steps (ours: as many as it takes)."""

    party: Party
    steps: int

    @property
    def is_ours(self) -> bool:
        return self.party.name == OURS

    @property
    def label(self) -> str:
        return OURS if self.is_ours else f"{self.party.name}, {self.steps}"


@dataclass(frozen=True, slots=True)
class Plan:
    """One model's benchmark: where, with whom, how long (measured seconds of a cell in each of the rounds)."""

    models: Path
    work: Path
    python: str
    workers: int
    threads: int
    seconds: float
    rounds: int


@dataclass(slots=True)
class Measured:
    """What was found of a model: runs by cell and contender, peak memory by contender, checks of ours by cell; of
    peers, which share of inputs they have within the tolerance, by steps."""

    model: str
    own_steps: int
    worst_at_50: float
    share_within: dict[int, float]
    runs: dict[tuple[Cell, str], list[Run]] = field(default_factory=dict)
    memory_bytes: dict[str, int] = field(default_factory=dict)
    checks: dict[Cell, Checked] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    fairness: Fairness | None = None
    limit: Limit | None = None

    def joined(self, cell: Cell, label: str) -> Run | None:
        runs = self.runs.get((cell, label))
        return load.joined(runs) if runs else None


def measure(plan: Plan, asked: Questions, contenders: Sequence[Contender], found: Measured) -> None:
    """All cells. Servers of small nets live side by side, held still while others are measured; those of large nets
    come and go, as their memory does not fit together."""
    if asked.model in LARGE:
        for _ in range(plan.rounds):
            for contender in contenders:
                with _started(plan, asked, contender, found) as server:
                    for cell in cells(asked.model) if server else ():
                        _measure_cell(plan, asked, contender, server, cell, found)
        return
    with _all_started(plan, asked, contenders, found) as servers:
        for cell in cells(asked.model):
            for _ in range(plan.rounds):
                for contender, server in servers:
                    _measure_cell(plan, asked, contender, server, cell, found)
        for contender, server in servers:
            if contender.is_ours:
                (port,) = server.ports
                found.fairness = fairness(port, contender.party.headers, asked, plan.models, plan.seconds)


@contextmanager
def _all_started(
    plan: Plan, asked: Questions, contenders: Sequence[Contender], found: Measured
) -> Iterator[list[tuple[Contender, Server]]]:
    servers: list[tuple[Contender, Server]] = []
    try:
        for contender in contenders:
            if server := _start(plan, asked, contender, found):
                servers.append((contender, server))
                _hold(contender, server, still=True)
        yield servers
    finally:
        for _, server in servers:
            server.stop()


@contextmanager
def _started(plan: Plan, asked: Questions, contender: Contender, found: Measured) -> Iterator[Server | None]:
    server = _start(plan, asked, contender, found)
    try:
        yield server
    finally:
        if server:
            server.stop()


def _start(plan: Plan, asked: Questions, contender: Contender, found: Measured) -> Server | None:
    question = Question(
        models=plan.models,
        model=asked.model,
        work=_folder(plan.work / contender.label.replace(", ", "-").replace(" ", "-")),
        workers=plan.workers,
        threads=plan.threads,
        steps=contender.steps,
        body=asked.bodies(1, ours=contender.is_ours)[0],
    )
    try:
        return contender.party.start(question, plan.python)
    except DidNotStart as problem:
        found.absent[contender.label] = str(problem)
        say(f"{asked.model}: {contender.label} did not start:\n{problem}")
        return None


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _hold(contender: Contender, server: Server, *, still: bool) -> None:
    """Ours is never held: its leases would run out; it idles."""
    if not contender.is_ours:
        server.hold(still=still)


def _measure_cell(
    plan: Plan, asked: Questions, contender: Contender, server: Server, cell: Cell, found: Measured
) -> None:
    if cell.ours_only and not contender.is_ours:
        return
    large = asked.model in LARGE
    requests = load.prepared(
        contender.party.path, asked.bodies(cell.inputs, ours=contender.is_ours), contender.party.headers
    )
    pace = Pace(plan.seconds / 4, plan.seconds, answers_each=1 if large or cell.inputs > 1 else 0)
    _hold(contender, server, still=False)
    cpu_s = server.cpu_s()
    if large and cell.clients == MEMORY_CLIENTS:
        with watched(server) as memory:
            run = load.run(server.ports, requests, cell.clients, pace, cell.inputs)
        if memory.short:
            run.failures.append("ended: it took all memory")
        _remember(found, contender, memory.peak_bytes)
    else:
        run = load.run(server.ports, requests, cell.clients, pace, cell.inputs)
    run.cpu_s = server.cpu_s() - cpu_s
    if cell == Cell(MEMORY_CLIENTS) and not large and contender.label not in found.memory_bytes:
        with watched(server) as memory:  # apart from the clock: looking costs time
            load.run(server.ports, requests, cell.clients, Pace(0, _MEMORY_S))
        _remember(found, contender, memory.peak_bytes)
    _hold(contender, server, still=True)
    found.runs.setdefault((cell, contender.label), []).append(run)
    if contender.is_ours:
        found.checks.setdefault(cell, Checked()).add(checked(run, asked))
    say(
        f"{asked.model}, {cell.clients} clients, {cell.inputs} inputs, {contender.label}: {run.rate:.4g}/s, "
        f"p50 {run.latency_ms(0.5):.4g} ms, p99 {run.latency_ms(0.99):.4g} ms, CPU {run.cpu_ms:.4g} ms each"
        + _failed(run)
    )


def _failed(run: Run) -> str:
    return f", {len(run.failures)} failures ({run.failures[0]})" if run.failures else ""


def _remember(found: Measured, contender: Contender, peak_bytes: int) -> None:
    found.memory_bytes[contender.label] = max(peak_bytes, found.memory_bytes.get(contender.label, 0))


def say(text: str) -> None:
    """Progress goes to standard error; the report alone to standard output."""
    print(text, file=sys.stderr, flush=True)
