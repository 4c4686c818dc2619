"""What was measured as Markdown tables and as JSON. Computes nothing that is not in the figures."""

import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.serving.bars import Bar, bars, best_peer, evaluation_rates
from benchmarks.serving.cells import Cell, Measured, Plan
from benchmarks.serving.load import Run, spread
from benchmarks.serving.parties import OURS

_PACKAGES = ("torch", "captum", "fastapi", "uvicorn", "litserve", "torchserve")


def markdown(plan: Plan, all_found: Sequence[Measured], extra: Sequence[Bar], not_run: Sequence[str]) -> str:
    lines = [*_head(plan)]
    for found in all_found:
        lines += ["", f"### {found.model}", "", *_intro(found), "", *_rates(found)]
        lines += ["", *_checks(found)] if found.checks else []
        lines += ["", *_limits(found)] if found.limit else []
        lines += ["", *_fairness(found)] if found.fairness else []
    verdicts = [*(bar for found in all_found for bar in bars(found)), *extra]
    lines += ["", "### Bars", "", *_bars(verdicts)]
    lines += ["", *(f"Not run: {what}" for what in not_run)]
    return "\n".join(lines)


def document(plan: Plan, all_found: Sequence[Measured], extra: Sequence[Bar], not_run: Sequence[str]) -> dict[str, Any]:
    """The same figures, for machines."""
    return {
        "machine": _machine(),
        "plan": {key: str(value) if isinstance(value, Path) else value for key, value in asdict(plan).items()},
        "models": [_found_document(found) for found in all_found],
        "bars": [asdict(bar) for bar in (*(bar for found in all_found for bar in bars(found)), *extra)],
        "not_run": list(not_run),
    }


def _found_document(found: Measured) -> dict[str, Any]:
    return {
        "model": found.model,
        "own_steps": found.own_steps,
        "share_within_by_steps": {str(few): share for few, share in found.share_within.items()},
        "worst_error_at_50_steps": found.worst_at_50,
        "cells": [
            {"clients": cell.clients, "inputs": cell.inputs, "party": label, **_figures(found, cell, label)}
            for cell, label in found.runs
        ],
        "peak_pss_bytes": found.memory_bytes,
        "answers": [
            {"clients": cell.clients, "inputs": cell.inputs, **asdict(check)} for cell, check in found.checks.items()
        ],
        "plain_passes": asdict(found.limit) if found.limit else None,
        "fairness": _fairness_document(found),
        "absent": found.absent,
    }


def _figures(found: Measured, cell: Cell, label: str) -> dict[str, Any]:
    run = found.joined(cell, label)
    if run is None:
        return {}
    some = bool(run.answers)
    return {
        "rate": run.rate,
        "p50_ms": run.latency_ms(0.5) if some else None,
        "p99_ms": run.latency_ms(0.99) if some else None,
        "answers": len(run.answers),
        "cpu_ms_per_input": run.cpu_ms if some else None,
        "seconds": run.seconds,
        "spread_of_rounds": spread(found.runs[cell, label]),
        "failures": len(run.failures),
    }


def _fairness_document(found: Measured) -> dict[str, Any] | None:
    fair = found.fairness
    if fair is None:
        return None
    return {
        "alone_ms": [fair.alone.latency_ms(0.5), fair.alone.latency_ms(0.99)] if fair.alone.answers else None,
        "beside_ms": [fair.beside.latency_ms(0.5), fair.beside.latency_ms(0.99)] if fair.beside.answers else None,
        "long_jobs": fair.long_jobs,
        "steps_later_p99": fair.steps_later,
    }


def _machine() -> dict[str, str]:
    found = {"cores": str(os.cpu_count()), "python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _head(plan: Plan) -> Iterator[str]:
    yield "## Serving"
    yield ""
    yield ", ".join(f"{key} {value}" for key, value in _machine().items()) + "."
    threads = f"{plan.threads} thread(s) of torch in each" if plan.threads else "torch's own number of threads in each"
    yield (
        f"Peers: {plan.workers} processes each, {threads}; FastAPI's on a port each with the clients shared evenly. "
        f"Ours: `attributor serve`, tolerance 5 %, cache of repeats off. {plan.rounds} round(s) of {plan.seconds:g} s "
        "and a warm-up per cell, parties in turns."
    )


def _intro(found: Measured) -> Iterator[str]:
    yield (
        f"Peers with 50 steps: at most {found.worst_at_50:.1%} off in completeness; with {found.own_steps} all inputs "
        "tried are within 5 %; with "
        + ", ".join(f"{few} {share:.0%}" for few, share in found.share_within.items())
        + " of them."
    )
    for label, problem in found.absent.items():
        yield f"Did not start: {label}: {problem.splitlines()[-1] if problem else ''}"


def _rates(found: Measured) -> Iterator[str]:
    columns = list(dict.fromkeys(cell for cell, _ in found.runs))
    yield (
        "| rate/s (p50 / p99 ms; CPU ms each) | " + " | ".join(_called(cell) for cell in columns) + " | peak PSS, GB |"
    )
    yield "|---" * (len(columns) + 2) + "|"
    for label in dict.fromkeys(label for _, label in found.runs):
        memory = found.memory_bytes.get(label)
        texts = [_cell_text(found.joined(cell, label)) for cell in columns]
        yield "| " + " | ".join([label, *texts, f"{memory / 1e9:.2f}" if memory else ""]) + " |"
    for own in (False, True):
        texts = []
        for cell in columns:
            ours, best = found.joined(cell, OURS), best_peer(found, cell, own=own)
            texts.append(f"{ours.rate / best[1]:.2f} x {best[0]}" if ours and best else "")
        yield f"| ours against the best {'at its own steps' if own else 'at 50 steps'} | " + " | ".join(texts) + " | |"


def _called(cell: Cell) -> str:
    clients = f"{cell.clients} client{'s' if cell.clients > 1 else ''}"
    return clients if cell.inputs == 1 else f"{clients}, {cell.inputs} inputs each"


def _cell_text(run: Run | None) -> str:
    if run is None:
        return ""
    if not run.answers:
        return f"no answers, {len(run.failures)} failures"
    text = f"{run.rate:.4g} ({run.latency_ms(0.5):.4g} / {run.latency_ms(0.99):.4g}; {run.cpu_ms:.3g})"
    return text + (f", {len(run.failures)} failures" if run.failures else "")


def _checks(found: Measured) -> Iterator[str]:
    yield (
        "| our answers | results | within 5 % | within a wider limit they state | not converged, and say so "
        "| violations | misstated | evaluations each |"
    )
    yield "|---" * 8 + "|"
    for cell, check in found.checks.items():
        each = check.evaluations / check.results if check.results else 0
        figures = (check.results, check.within, check.stated, check.unmet, check.violations, check.misstated)
        yield f"| {_called(cell)} | " + " | ".join(map(str, figures)) + f" | {each:.1f} |"


def _limits(found: Measured) -> Iterator[str]:
    assert found.limit is not None
    yield (
        f"Plain passes, best batch {found.limit.batch}: {found.limit.gradients_per_s:.4g} gradient evaluations/s, "
        f"{found.limit.forwards_per_s:.4g} forward passes/s."
    )
    for cell, (gradients, forwards) in evaluation_rates(found).items():
        yield f"Ours, {_called(cell)}: {gradients:.4g} gradient evaluations/s and {forwards:.4g} forward passes/s."


def _fairness(found: Measured) -> Iterator[str]:
    fair = found.fairness
    assert fair is not None
    for name, run in (("alone", fair.alone), ("beside a job of 10,000 evaluations", fair.beside)):
        if run.answers:
            yield f"Short jobs {name}: p50 {run.latency_ms(0.5):.2f} ms, p99 {run.latency_ms(0.99):.2f} ms."
    alone, beside = sorted(fair.steps_alone), sorted(fair.steps_beside)
    yield (
        f"Steps of the engine: {alone[len(alone) // 2]} alone, {beside[len(beside) // 2]} beside (medians); p99 later "
        f"by {fair.steps_later:.3g}. {fair.long_jobs} long jobs ended meanwhile."
    )


def _bars(verdicts: Sequence[Bar]) -> Iterator[str]:
    yield "| bar | asked | measured | |"
    yield "|---|---|---|---|"
    for bar in verdicts:
        yield f"| {bar.what} | {bar.asked} | {bar.measured} | {'met' if bar.met else '**not met**'} |"
