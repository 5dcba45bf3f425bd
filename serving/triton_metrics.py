"""Triton's own counters, read from its Prometheus endpoint."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serving.triton import TritonServer

INFERENCE_COUNT = "nv_inference_count"


def inference_counts(server: TritonServer | None) -> dict[str, int]:
    """Rows inferred so far by model, as Triton counts them; empty for a server that is not ours."""
    if server is None:
        return {}
    answer = httpx.get(server.metrics_url, timeout=10)
    answer.raise_for_status()
    counts: dict[str, int] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name == INFERENCE_COUNT:
                model = sample.labels["model"]
                counts[model] = counts.get(model, 0) + int(sample.value)
    return counts
