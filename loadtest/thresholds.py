"""What a run must keep to, and whether its numbers can be trusted."""

from dataclasses import dataclass
from typing import Final

from loadtest.figures import Figures

MAX_LAG_FACTOR: Final = 10
"""The largest lag may be so many times as large as that of 99 in 100 requests."""


@dataclass(frozen=True)
class Thresholds:
    """Bounds of figures; None: no bound.

    Attributes:
        p50, p95, p99: latency of served requests, seconds.
        error_rate, shed_rate, drop_rate: shares, 0..1.
        min_throughput: served requests per second.
    """

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    error_rate: float | None = 0.0
    shed_rate: float | None = None
    drop_rate: float | None = 0.0
    min_throughput: float | None = None

    def missed(self, found: Figures) -> list[str]:
        """One line for each bound that was missed; a run without requests misses whatever it was asked."""
        if not found.requests:
            return [f"{found.label}: no request started after the warm-up"]
        lines = []
        for name in ("p50", "p95", "p99"):
            bound, value = getattr(self, name), getattr(found.latency, name)
            if bound is not None and value is None:
                lines.append(f"{name}: nothing was served")
            elif bound is not None and value > bound:
                lines.append(f"{name}: {value:.3f} s is above {bound:g} s")
        for name in ("error_rate", "shed_rate", "drop_rate"):
            bound, value = getattr(self, name), getattr(found, name)
            if bound is not None and value > bound:
                lines.append(f"{name.replace('_', '-')}: {value:.4f} is above {bound:g}")
        if self.min_throughput is not None and found.served_per_s < self.min_throughput:
            lines.append(f"throughput: {found.served_per_s:.3f}/s is below {self.min_throughput:g}/s")
        return [f"{found.label}: {line}" for line in lines]


def distrusted(found: Figures, max_lag_s: float) -> str | None:
    """Why the numbers of a run are not to be trusted, None if they are: a generator that is late offers another load.

    Args:
        max_lag_s: bound of the lag's 99th percentile; of its maximum, `MAX_LAG_FACTOR` times that.
    """
    lag = found.lag
    for name, value, bound in (("p99", lag.p99, max_lag_s), ("max", lag.max, MAX_LAG_FACTOR * max_lag_s)):
        if value is not None and value > bound:
            return (
                f"{found.label}: the numbers are not trustworthy: requests started late, "
                f"by {1000 * value:.1f} ms ({name}, bound {1000 * bound:g} ms)"
            )
    return None
