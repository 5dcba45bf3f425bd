"""Triton's own counters, read from its Prometheus endpoint."""

import time
from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serving.triton import TritonServer

INFERENCE_COUNT = "nv_inference_count"
SETTLE_S, POLL_S = 5.0, 0.05


def inference_counts(server: TritonServer | None) -> dict[str, int]:
    """Rows inferred so far by model, as Triton counts them; empty for a server that is not ours."""
    if server is None:
        return {}
    answer = httpx.get(server.metrics_url, timeout=10, trust_env=False)
    answer.raise_for_status()
    counts: dict[str, int] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name.removesuffix("_total") == INFERENCE_COUNT:  # the parser names counters as OpenMetrics does
                model = sample.labels["model"]
                counts[model] = counts.get(model, 0) + int(sample.value)
    return counts


def rows_counted(server: TritonServer | None, before: Mapping[str, int], sent: Mapping[str, int]) -> dict[str, int]:
    """Rows that Triton counted since `before`, by model, once it has counted all that were `sent`.

    Triton counts a row a moment after it has answered; what it counts beyond the rows sent shows in the result.
    """
    until = time.monotonic() + SETTLE_S
    while True:
        counts = {model: count - before.get(model, 0) for model, count in inference_counts(server).items()}
        if all(counts.get(model, 0) >= rows for model, rows in sent.items()) or time.monotonic() > until:
            return counts
        time.sleep(POLL_S)
