"""What the ingress counts, in Prometheus's text form."""

import platform
from collections.abc import Iterator
from http import HTTPStatus

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.http.problems import Problem
from serving.pipeline.admission import Admission
from serving.pipeline.contracts import EncodeStage
from serving.pipeline.request import MotionRequest, Priority
from serving.pipeline.results import DeliveredFile, Result
from serving.stages.remembered import RememberedEncoder

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST


class _Remembered(Collector):
    def __init__(self, encoder: RememberedEncoder) -> None:
        self._encoder = encoder

    def collect(self) -> Iterator[Metric]:
        text = "Songs and prompts found encoded, and those that were encoded."
        looked_up = CounterMetricFamily("choreo_conditioning_cache", text, labels=("result",))
        looked_up.add_metric(("hit",), self._encoder.hits)
        looked_up.add_metric(("miss",), self._encoder.misses)
        yield looked_up
        yield GaugeMetricFamily(
            "choreo_conditioning_cache_bytes", "Memory of what they were encoded to.", self._encoder.held_bytes
        )


class Metrics:
    """Counters of one ingress, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        r = self._registry
        self._requests = Counter("choreo_requests", "Requests answered.", ("route", "status"), registry=r)
        self._seconds = Histogram(
            "choreo_request_seconds", "Time to an answer.", ("route",), buckets=BUCKETS, registry=r
        )
        self._stages = Histogram(
            "choreo_stage_seconds", "Time in a stage.", ("model", "stage"), buckets=BUCKETS, registry=r
        )
        self._rows = Counter("choreo_rows", "Rows evaluated by a graph.", ("model", "graph"), registry=r)
        self._frames = Counter("choreo_motion_frames", "Frames of motion delivered.", ("model",), registry=r)
        self._motions = Counter("choreo_motions", "Motions delivered.", ("model",), registry=r)
        self._samples_failed = Counter(
            "choreo_samples_failed", "Samples left out because of NaN or infinity.", ("model",), registry=r
        )
        self._priors = Counter("choreo_priors", "Motions with and without a retrieved prior.", ("used",), registry=r)
        self._prior_cache = Counter("choreo_prior_cache", "Priors made and found made.", ("result",), registry=r)
        self._prior_cache_bytes = Gauge(
            "choreo_prior_cache_bytes", "Memory of the cache of the retriever that answered last.", registry=r
        )
        self._motion_seconds = Histogram(
            "choreo_motion_seconds", "Time of a motion in all stages.", ("model", "preset"), buckets=BUCKETS, registry=r
        )
        self._latency = Histogram(
            "choreo_motion_latency_seconds",
            "Time from a whole request to its motion.",
            ("model", "preset"),
            buckets=BUCKETS,
            registry=r,
        )
        self._queue = Histogram(
            "choreo_queue_seconds", "Time until a request has a turn.", ("priority",), buckets=BUCKETS, registry=r
        )
        self._missed = Counter("choreo_deadlines_missed", "Deadlines that passed.", ("priority",), registry=r)
        for priority in Priority:  # a series that begins with its first event has no rate before the second
            self._missed.labels(priority)
        self._problems = Counter("choreo_problems", "Requests refused or failed.", ("kind",), registry=r)
        self._refused = Counter("choreo_refused", "Requests that a limit refused.", ("limit",), registry=r)
        self._refused.labels("max_queued_requests")
        self._batches = Counter("choreo_step_batches", "Calls of a graph.", registry=r)
        self._batch_rows = Counter("choreo_step_batch_rows", "Rows in these calls.", registry=r)
        self._batch_capacity = Counter("choreo_step_batch_capacity_rows", "Rows they had room for.", registry=r)
        self.in_flight = Gauge("choreo_requests_in_flight", "Requests being served.", registry=r)

    def watch(self, admission: Admission, version: str) -> None:
        """Tell how full the server is, and which program this is, whenever it is asked."""
        r = self._registry
        waiting = Gauge("choreo_requests_waiting", "Requests that wait for a turn.", registry=r)
        waiting.set_function(lambda: admission.waiting)
        working = Gauge("choreo_requests_working", "Requests that have a turn.", registry=r)
        working.set_function(lambda: admission.working)
        places = Gauge("choreo_request_places", "Requests that are accepted at a time.", registry=r)
        places.set(admission.places)
        build = Gauge(
            "choreo_build_info", "1; the labels say which program this is.", ("version", "python"), registry=r
        )
        build.labels(version, platform.python_version()).set(1)
        ProcessCollector(registry=r)

    def watch_encoder(self, encoder: EncodeStage) -> None:
        """Tell what the ingress remembers of songs and prompts, if it does, whenever it is asked."""
        if isinstance(encoder, RememberedEncoder):
            self._registry.register(_Remembered(encoder))

    def watch_more(self, collector: Collector) -> None:
        """Tell what a collector knows whenever it is asked."""
        self._registry.register(collector)

    def waited(self, request: MotionRequest, seconds: float) -> None:
        """Count a request that got its turn, or whose deadline passed before it had one."""
        self._queue.labels(request.priority).observe(seconds)

    def missed(self, request: MotionRequest) -> None:
        """Count a deadline that passed, in the queue or later."""
        self._missed.labels(request.priority).inc()

    def in_time(self, result: Result | DeliveredFile, seconds: float) -> None:
        """Count a motion that somebody waited for, from when the request was whole."""
        self._latency.labels(result.model, result.preset).observe(seconds)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; status 499 is a caller that left."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, problem: Problem) -> None:
        """Count a problem that was answered."""
        self._problems.labels(problem.kind).inc()
        if problem.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._refused.labels(problem.limit or "other").inc()

    def generated(self, result: Result | DeliveredFile) -> None:
        """Count a finished motion."""
        for stage, seconds in result.seconds.items():
            self._stages.labels(result.model, stage).observe(seconds)
        for graph, rows in result.rows.items():
            self._rows.labels(result.model, graph).inc(rows)
        self._frames.labels(result.model).inc(result.num_frames)
        self._motions.labels(result.model).inc()
        self._samples_failed.labels(result.model).inc(result.samples_failed)
        self._motion_seconds.labels(result.model, result.preset).observe(sum(result.seconds.values()))
        self._batches.inc(result.steps.batches)
        self._batch_rows.inc(result.steps.rows)
        self._batch_capacity.inc(result.steps.capacity)
        self._priors.labels("true" if result.retrieved.prior else "false").inc()
        if result.retrieved.cache is not None:
            self._prior_cache.labels("hit" if result.retrieved.cache.hit else "miss").inc()
            self._prior_cache_bytes.set(result.retrieved.cache.bytes)

    def text(self) -> bytes:
        """Everything counted so far."""
        return generate_latest(self._registry)
