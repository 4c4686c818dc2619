"""A tally and what Prometheus' own reader makes of it."""

from threading import Thread

from attributor.telemetry import metrics
from attributor.telemetry.exposition import counted_families, exposition
from attributor.telemetry.metrics import Tally, field_of
from prometheus_client.parser import text_string_to_metric_families


def read(counted):
    """Samples by name and labels, as a monitor reads them."""
    families = text_string_to_metric_families(exposition(counted_families(counted)).decode())
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def test_a_counter_adds_up():
    tally = Tally()
    tally.count(metrics.EVALUATIONS, ("digits",), 13)
    tally.count(metrics.EVALUATIONS, ("digits",), 4)
    tally.count(metrics.EVALUATIONS, ("tumour",))
    found = read(tally.take())
    assert found["attributor_evaluations_total", ("model", "digits")] == 17
    assert found["attributor_evaluations_total", ("model", "tumour")] == 1
    assert tally.take() == {}


def test_a_histogram_has_cumulative_buckets_that_hold_their_upper_bounds():
    tally = Tally()
    tally.observe(metrics.BATCH_FILL, ("digits",), 0.1, 0.15, 1.0)
    tally.observe(metrics.BATCH_FILL, ("digits",), 7.0)
    found = read(tally.take())

    def bucket(le):
        return found["attributor_batch_fill_ratio_bucket", ("le", le), ("model", "digits")]

    assert [bucket("0.1"), bucket("0.2"), bucket("0.9"), bucket("1"), bucket("+Inf")] == [1, 2, 2, 3, 4]
    assert found["attributor_batch_fill_ratio_count", ("model", "digits")] == 4
    assert found["attributor_batch_fill_ratio_sum", ("model", "digits")] == 8.25


def test_threads_lose_nothing():
    tally = Tally()
    threads = [
        Thread(target=lambda: [tally.observe(metrics.PASSES, ("m",), 0.001) for _ in range(5000)]) for _ in range(4)
    ]
    taken: list[dict] = []
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        taken.append(tally.take())
    taken.append(tally.take())
    assert sum(each.get(field_of(metrics.PASSES, ("m",), "0.001"), 0) for each in taken) == 20_000


def test_what_another_release_counted_otherwise_does_no_harm():
    counted = {
        "attributor_gone\t\ta": 1.0,
        field_of(metrics.EVALUATIONS, ("digits", "more")): 5.0,
        field_of(metrics.BATCH_FILL, ("digits",), "0.123"): 5.0,
        field_of(metrics.BATCH_FILL, ("digits",), "0.2"): 1.0,
    }
    found = read(counted)
    assert ("attributor_evaluations_total", ("model", "digits")) not in found
    assert found["attributor_batch_fill_ratio_count", ("model", "digits")] == 1


def test_no_label_speaks_of_a_tenant_or_a_job():
    named = {label for metric in metrics.METRICS for label in metric.labels}
    assert named == {
        "code",
        "converged",
        "kind",
        "method",
        "model",
        "outcome",
        "priority",
        "route",
        "status",
    }
