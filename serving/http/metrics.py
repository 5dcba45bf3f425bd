"""What the ingress counts, in Prometheus's text form."""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from serving.pipeline.contracts import DeliveredFile, Result

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
CONTENT_TYPE = CONTENT_TYPE_LATEST


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
        self._priors = Counter("choreo_priors", "Motions with and without a retrieved prior.", ("used",), registry=r)
        self._prior_cache = Counter("choreo_prior_cache", "Priors made and found made.", ("result",), registry=r)
        self._prior_cache_bytes = Gauge(
            "choreo_prior_cache_bytes", "Memory of the cache of the retriever that answered last.", registry=r
        )
        self.in_flight = Gauge("choreo_requests_in_flight", "Requests being served.", registry=r)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; status 499 is a caller that left."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def generated(self, result: Result | DeliveredFile) -> None:
        """Count a finished motion."""
        for stage, seconds in result.seconds.items():
            self._stages.labels(result.model, stage).observe(seconds)
        for graph, rows in result.rows.items():
            self._rows.labels(result.model, graph).inc(rows)
        self._frames.labels(result.model).inc(result.num_frames)
        self._motions.labels(result.model).inc()
        self._priors.labels("true" if result.retrieved.prior else "false").inc()
        if result.retrieved.cache is not None:
            self._prior_cache.labels("hit" if result.retrieved.cache.hit else "miss").inc()
            self._prior_cache_bytes.set(result.retrieved.cache.bytes)

    def text(self) -> bytes:
        """Everything counted so far."""
        return generate_latest(self._registry)
