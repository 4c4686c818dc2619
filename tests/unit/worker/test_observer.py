"""What a worker counts and traces of its jobs, between a queue in memory and a real engine."""

from dataclasses import replace

import pytest
from attributor.telemetry import metrics
from attributor.telemetry.metrics import Tally, field_of
from attributor.telemetry.tracing import Tracing
from attributor.worker.counting import JobCounts, Observers
from attributor.worker.tracing import JobTraces
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from unit.worker.memory_queue import MemoryQueue, until
from unit.worker.working import LONG, PROBLEM, HeldModel, working

METHOD = "integrated_gradients"


def traceparent(number: int, flags: str = "01") -> str:
    return f"00-{number:032x}-{number:016x}-{flags}"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Tracing(provider)


async def test_jobs_passes_and_ends_are_counted():
    queue, tally, model = MemoryQueue(), Tally(), HeldModel(PROBLEM)
    async with working(queue, model) as running:
        running.worker.observe(JobCounts(tally))
        queue.put("good")
        queue.put("bad", spec=replace(LONG, digest="unknown"))
        model.gate.set()
        await until(lambda: len(queue.outcomes) == 2)
    counted = tally.take()

    def of(metric, *labels, part=""):
        return counted[field_of(metric, labels, part)]

    assert of(metrics.JOBS_ENDED, "attribution", METHOD, "succeeded") == 1
    assert of(metrics.JOBS_ENDED, "attribution", METHOD, queue.outcomes["bad"].code) == 1
    assert of(metrics.RESULTS, METHOD, "true") == 1
    [result] = queue.outcomes["good"].results
    [model_name] = {name.split("\t")[2] for name in counted if name.startswith("attributor_evaluations\t")}
    assert of(metrics.EVALUATIONS, model_name) == sum(map(len, model.passes)) >= result.evaluations
    passes = [number for name, number in counted.items() if name.startswith("attributor_batch_fill_ratio\t")]
    assert sum(passes) - of(metrics.BATCH_FILL, model_name, part="sum") == len(model.passes)
    filled = sum(len(each) / model.max_points for each in model.passes)
    assert of(metrics.BATCH_FILL, model_name, part="sum") == pytest.approx(filled)


async def test_an_answer_that_comes_too_late_is_lost_and_no_success():
    queue, tally, model = MemoryQueue(), Tally(), HeldModel(PROBLEM)
    async with working(queue, model) as running:
        running.worker.observe(JobCounts(tally))
        queue.put("a")
        await until(lambda: "a" in queue.leases)
        queue.leases.pop("a")
        model.gate.set()
        await until(lambda: running.worker.idle and running.worker.jobs_ended)
    counted = tally.take()
    assert counted[field_of(metrics.JOBS_ENDED, ("attribution", METHOD, "lost"))] == 1
    assert field_of(metrics.JOBS_ENDED, ("attribution", METHOD, "succeeded")) not in counted


async def test_a_shared_pass_belongs_to_one_trace_and_points_to_all(exporter, tracing):
    queue, model = MemoryQueue(), HeldModel(PROBLEM)
    async with working(queue, model) as running:
        running.worker.observe(Observers(JobCounts(Tally()), JobTraces(tracing)))
        for number in (1, 2):
            queue.put(f"job {number}", spec=replace(LONG, traceparent=traceparent(number)))
        queue.put("untraced", spec=LONG)
        queue.put("not sampled", spec=replace(LONG, traceparent=traceparent(9, "00")))
        await until(lambda: len(queue.leases) == 4)
        model.gate.set()
        await until(lambda: len(queue.outcomes) == 4)
    spans = exporter.get_finished_spans()
    by_name = {name: [span for span in spans if span.name == name] for name in ("queue", "run", "pass", "deliver")}
    assert {len(by_name[name]) for name in ("queue", "run", "deliver")} == {2}
    assert {span.context.trace_id for span in spans} == {1, 2}
    runs = {span.context.span_id for span in by_name["run"]}
    assert {span.parent.span_id for span in by_name["run"]} == {1, 2}
    assert all(span.parent.span_id in runs for span in by_name["pass"])
    assert any({link.context.span_id for link in span.links} == runs for span in by_name["pass"])
    for run in by_name["run"]:
        assert run.start_time <= run.end_time
        assert all("tenant" not in name for name in run.attributes)
