"""The service's numbers as Prometheus reads them: text format 0.0.4, made by its own client library.

A registry of its own for each scrape: the numbers are the service's, from the store, and none of this process's.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from attributor.telemetry.metrics import METRICS, SUM, Metric, bounds_of, parts_of

#: Labels and a number.
Sample = tuple[tuple[str, ...], float]
_Told = Mapping[tuple[str, ...], Mapping[str, float]]


def gauge(name: str, text: str, labels: tuple[str, ...], samples: Iterable[Sample]) -> Family:
    """Of what can fall."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


def counter(name: str, text: str, number: float) -> Family:
    """Of what only rises, without labels; `_total` is added to the name."""
    return CounterMetricFamily(name, text, value=number)


def counted_families(counted: Mapping[str, float]) -> Iterator[Family]:
    """What processes have counted, by METRICS; what another release named otherwise is left out."""
    told: dict[str, dict[tuple[str, ...], dict[str, float]]] = {}
    for field, number in counted.items():
        name, part, labels = parts_of(field)
        told.setdefault(name, {}).setdefault(labels, {})[part] = number
    for metric in METRICS:
        fitting = {
            labels: parts for labels, parts in told.get(metric.name, {}).items() if len(labels) == len(metric.labels)
        }
        yield _histogram(metric, fitting) if metric.buckets else _counter(metric, fitting)


def _counter(metric: Metric, told: _Told) -> Family:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, parts in sorted(told.items()):
        family.add_metric(labels, parts.get("", 0.0))
    return family


def _histogram(metric: Metric, told: _Told) -> Family:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = bounds_of(metric)
    for labels, parts in sorted(told.items()):
        counts = accumulate(parts.get(bound, 0.0) for bound in bounds)
        family.add_metric(labels, list(zip(bounds, counts, strict=True)), sum_value=parts.get(SUM, 0.0))
    return family


def exposition(families: Iterable[Family]) -> bytes:
    """The text, of the media type `prometheus_client.CONTENT_TYPE_PLAIN_0_0_4`."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Fixed(families))
    return generate_latest(registry)


class _Fixed(Collector):
    def __init__(self, families: Iterable[Family]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Family]:
        return self._families
