import pytest

from choreo.evaluation.scorecard import Row
from serving.evaluation.targets import verdicts


def row(subject: str, metric: str, value: float, ci95: float | None = 0.01, n: int = 64) -> Row:
    return Row(metric=metric, subject=subject, value=value, ci95=ci95, n=n, note="")


REAL = {
    "bone_length_deviation": 0.0, "foot_skating_ratio": 0.1, "jerk_m_s3": 100.0, "dist_k": 8.0, "fid_k": 10.0,
    "fd_embedding": 0.1, "r_precision_top3": 0.6, "multimodality": 0.5, "beat_alignment_score": 0.5,
}  # fmt: skip


def rows(**changes: float) -> list[Row]:
    """A checkpoint as good as real motion, but for what is changed."""
    real = [row("gt", metric, value) for metric, value in REAL.items()]
    made = [row("generated", metric, value, n=700) for metric, value in (REAL | changes).items()]
    controls = [row(name, "fid_k", 200.0) for name in ("untrained", "mean_pose", "frames_shuffled")]
    beats = [row(name, "beat_alignment_score", 0.3) for name in ("gt_shuffled", "shuffled")]
    return [*real, *made, *controls, *beats]


def test_real_motion_meets_every_target() -> None:
    assert {v["met"] for v in verdicts(rows())} == {True}


@pytest.mark.parametrize(
    ("metric", "value", "missed"),
    [
        ("bone_length_deviation", 0.02, 1), ("foot_skating_ratio", 0.16, 1), ("jerk_m_s3", 201.0, 1),
        ("jerk_m_s3", 49.0, 1), ("dist_k", 5.5, 1), ("beat_alignment_score", 0.31, 1), ("fid_k", 31.0, 1),
        ("fid_k", 201.0, 4), ("fd_embedding", 0.31, 1), ("r_precision_top3", 0.28, 1), ("multimodality", 0.0, 1),
    ],
)  # fmt: skip
def test_each_target_can_be_missed(metric: str, value: float, missed: int) -> None:
    assert [v["met"] for v in verdicts(rows(**{metric: value}))].count(False) == missed


def test_what_cannot_be_told_is_open() -> None:
    real_does_not_separate = [
        r | {"value": 0.5} if r["subject"] == "gt_shuffled" else r
        for r in rows()  # type: ignore[misc]
    ]
    assert [v["target"] for v in verdicts(real_does_not_separate) if v["met"] is None] == ["real motion does not"]
    few = [r | {"n": 64} for r in rows()]  # type: ignore[misc]
    assert [v["target"] for v in verdicts(few) if v["met"] is None] == ["needs 640 dances"]
    assert {v["met"] for v in verdicts([])} == {None}
