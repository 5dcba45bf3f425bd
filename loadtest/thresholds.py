"""Bounds of a run's figures, and whether the figures are trustworthy."""

from dataclasses import dataclass
from typing import Final

from loadtest.figures import Figures

MAX_LAG_FACTOR: Final = 10
"""Bound of the maximum lag, as a multiple of the bound of its 99th percentile."""


@dataclass(frozen=True)
class Thresholds:
    """Bounds of a run's figures; None: no bound.

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
        """One line per missed bound; a run without requests misses all of them in one line."""
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
    """Why the figures of a run are not trustworthy; None if they are. A late generator offers another load.

    Args:
        max_lag_s: bound of the lag's 99th percentile, seconds; the maximum may be `MAX_LAG_FACTOR` times as large.
    """
    lag = found.lag
    for name, value, bound in (("p99", lag.p99, max_lag_s), ("max", lag.max, MAX_LAG_FACTOR * max_lag_s)):
        if value is not None and value > bound:
            return (
                f"{found.label}: the numbers are not trustworthy: requests started late, "
                f"by {1000 * value:.1f} ms ({name}, bound {1000 * bound:g} ms)"
            )
    return None
