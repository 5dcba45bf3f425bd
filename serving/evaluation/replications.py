"""Several replications of an evaluation combined, with the interval given by their spread."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from choreo.evaluation.diversity import multimodality
from choreo.evaluation.intervals import mean_interval
from choreo.evaluation.scorecard import Row


def combined(replications: Sequence[Sequence[Row]]) -> list[Row]:
    """Means over replications, with 95 % intervals over them (Guo et al. 2022); a single replication is unchanged.

    Args:
        replications: rows of the same subject; metrics that are missing in one of them are left out.
    """
    if len(replications) == 1:
        return list(replications[0])
    out = []
    found = [{row["metric"]: row for row in rows} for rows in replications]
    for metric in (m for m in found[0] if all(m in rows for rows in found)):
        rows = [by_metric[metric] for by_metric in found]
        interval = mean_interval([row["value"] for row in rows])
        first = rows[0]
        within = "" if first["ci95"] is None else f"±{first['ci95']:.2g} within one of {len(rows)} replications"
        note = "; ".join(part for part in (within, first["note"]) if part)
        out.append(
            Row(
                metric=first["metric"],
                subject=first["subject"],
                value=interval.value,
                ci95=interval.half,
                n=first["n"],
                note=note,
            )
        )
    return out


def seeds_apart(embeddings: Sequence[NDArray[np.float32]], subject: str) -> Row:
    """Multimodality: mean embedding distance between dances to the same stretch from different seeds.

    Args:
        embeddings: (N, D) of each replication, at least two; row i belongs to the same stretch and dancer in all.
        subject: name for the row.
    """
    conditions = np.stack(embeddings, axis=1)
    spreads = [multimodality([condition], seed=i) for i, condition in enumerate(conditions)]
    interval = mean_interval(spreads)
    note = f"{len(embeddings)} seeds for each of {len(spreads)} stretches"
    return Row(
        metric="multimodality", subject=subject, value=interval.value, ci95=interval.half, n=interval.n, note=note
    )
