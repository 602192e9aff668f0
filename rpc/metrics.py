"""``/metrics``: the node's figures and the RPC's own as Prometheus text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .backend import Figure, Labelled

PREFIX = "colophon_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Figures(Collector):
    def __init__(
        self,
        figures: Callable[[], Mapping[str, Figure]],
        outcomes: Counter[tuple[str, str]],
    ) -> None:
        self._figures = figures
        self._outcomes = outcomes

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand: what there is depends on the node."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield every figure; names that end in ``_total`` are counters, others gauges."""
        for name, value in sorted(self._figures().items()):
            yield _metric(name, value)
        requests = CounterMetricFamily(
            PREFIX + "rpc_requests",
            "Calls answered, by method and outcome (ok or an error code)",
            labels=("method", "outcome"),
        )
        for labels, count in sorted(self._outcomes.items()):
            requests.add_metric(labels, count)
        yield requests


def _metric(name: str, figure: Figure) -> Metric:
    full = PREFIX + re.sub(r"\W", "_", name.removeprefix(PREFIX))
    words = full.removeprefix(PREFIX).replace("_", " ")
    labels = (figure.label,) if isinstance(figure, Labelled) else ()
    metric: CounterMetricFamily | GaugeMetricFamily
    if full.endswith("_total"):
        metric = CounterMetricFamily(full.removesuffix("_total"), words, labels=labels)
    else:
        metric = GaugeMetricFamily(full, words, labels=labels)
    if not isinstance(figure, Labelled):
        metric.add_metric((), float(figure))
        return metric
    for label, value in sorted(figure.values.items()):
        metric.add_metric((label,), value)
    return metric


class Metrics:
    """A registry of its own, so that two nodes in one process do not mix."""

    def __init__(
        self,
        figures: Callable[[], Mapping[str, Figure]],
        outcomes: Counter[tuple[str, str]],
    ) -> None:
        """``figures`` is asked at every scrape; ``outcomes`` is the dispatcher's count."""
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(figures, outcomes))

    def text(self) -> bytes:
        """Return the exposition."""
        return generate_latest(self._registry)
