"""Triton's own counters, read from its Prometheus endpoint."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serving.triton.supervisor import TritonServer

INFERENCE_COUNT = "nv_inference_count"
SETTLE_S, POLL_S = 5.0, 0.05


def inference_counts(server: TritonServer) -> dict[str, int]:
    """Rows inferred so far by model, as Triton counts them."""
    answer = httpx.get(server.metrics_url, timeout=10, trust_env=False)
    answer.raise_for_status()
    counts: dict[str, int] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            if sample.name.removesuffix("_total") == INFERENCE_COUNT:  # the parser names counters as OpenMetrics does
                model = sample.labels["model"]
                counts[model] = counts.get(model, 0) + int(sample.value)
    return counts


@contextmanager
def counted_rows(server: TritonServer | None) -> Iterator[Callable[[str, Mapping[str, int]], dict[str, int]]]:
    """Count what a server infers for its clients, without the supervisor's canaries; nothing for a foreign server.

    Yields:
        A function of a generator's name and the rows sent, by graph: the rows of that generator that Triton counted
        inside the block. Triton counts a row a moment after it has answered, so it waits until all rows sent are
        there; what is counted in addition to them shows.
    """
    if server is None:
        yield lambda model, sent: {}
        return
    with server.without_canaries():
        before = _settled(server)

        def counted(model: str, sent: Mapping[str, int]) -> dict[str, int]:
            until = time.monotonic() + SETTLE_S
            while True:
                counts = {
                    key.removeprefix(f"{model}."): count - before.get(key, 0)
                    for key, count in _settled(server).items()
                    if key.startswith(f"{model}.")
                }
                if all(counts.get(graph, 0) >= rows for graph, rows in sent.items()) or time.monotonic() > until:
                    return counts

        yield counted


def _settled(server: TritonServer) -> dict[str, int]:
    """Counts that did not change from one look to the next, or the last ones seen."""
    until = time.monotonic() + SETTLE_S
    counts = inference_counts(server)
    while True:
        time.sleep(POLL_S)
        earlier, counts = counts, inference_counts(server)
        if counts == earlier or time.monotonic() > until:
            return counts
