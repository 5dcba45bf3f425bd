"""The scorecard and the sets of motions it judges."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests_data import data_pack

from choreo.data.layouts.packs import DataPack
from choreo.errors import InvalidInput
from choreo.evaluation.beat_alignment import beat_alignment_score
from choreo.evaluation.floating import float_percent
from choreo.evaluation.motions import Motions
from choreo.evaluation.scorecard import METRICS, Row, score
from choreo.motion.clip import Motion
from choreo.motion.foot_skating import foot_skating_ratio
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.performance import Performance

NAMES = [metric.name for metric in METRICS]


def dances(n: int, seed: int = 0, size: float = 1.0) -> list[np.ndarray]:
    """Rest poses whose joints swing, each dance in its own way; lengths differ."""
    rng = np.random.default_rng(seed)
    rest = forward_kinematics(np.array([0, 0.97, 0.0]), np.broadcast_to(np.eye(3), (22, 3, 3)))
    out = []
    for _ in range(n):
        t = np.arange(rng.integers(40, 60))[:, None, None] / 30
        swing = rng.uniform(0, 0.2, (22, 3)) * np.sin(2 * np.pi * rng.uniform(0.5, 2, (22, 3)) * t)
        out.append((rest + size * swing).astype(np.float32))
    return out


def complete(name: str, n: int, seed: int = 0) -> Motions:
    rng = np.random.default_rng(seed)
    text = rng.standard_normal((n, 6))
    return Motions(
        name,
        dances(n, seed),
        beats=[np.arange(0, 2, 0.5) for _ in range(n)],
        captions=[f"dance {i % (n - 4)}" for i in range(n)],
        text_embeddings=text,
        motion_embeddings=text + 0.1 * rng.standard_normal((n, 6)),
    )


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return score(complete("generated", 40), complete("gt", 50, seed=1))


def by_name(rows: list[Row]) -> dict[str, Row]:
    return {row["metric"]: row for row in rows}


def test_every_metric_has_a_row_in_the_order_of_the_table(rows: list[Row]) -> None:
    assert [row["metric"] for row in rows] == NAMES
    assert len(set(NAMES)) == len(NAMES)
    for row in rows:
        assert set(row) == {"metric", "subject", "value", "ci95", "n", "note"}
        assert row["subject"] == "generated"
        assert np.isfinite(row["value"])
        assert row["ci95"] is not None
        assert row["ci95"] >= 0
    json.dumps(rows, allow_nan=False)


def test_the_documentation_lists_every_metric_once_with_its_direction() -> None:
    lines = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    known = [(pattern, row[2]) for row in rows if len(row) == 4 for pattern in re.findall(r"`([^`]+)`", row[0])]
    for metric in METRICS:
        assert [better for pattern, better in known if fnmatch(metric.name, pattern)] == [metric.better], metric.name
    assert all(any(fnmatch(name, pattern) for name in NAMES) for pattern, _ in known)


def test_what_is_not_there_has_no_row() -> None:
    found = by_name(score(Motions("generated", dances(12)), complete("gt", 12, seed=1)))
    assert set(found) == {metric.name for metric in METRICS if metric.needs == "positions"}
    one = by_name(score(Motions("generated", dances(1)), Motions("gt", dances(3))))
    assert "fid_k" not in one
    assert "precision_k" not in one
    assert one["jerk_m_s3"]["ci95"] is None


def test_numbers_of_clips_are_their_means() -> None:
    motions = complete("generated", 9)
    found = by_name(score(motions, complete("gt", 9, seed=1)))
    floating = [float_percent(p) for p in motions.positions]
    assert found["float_percent"]["value"] == pytest.approx(np.mean(floating))
    half = 1.96 * np.std(floating, ddof=1) / 9**0.5
    assert found["float_percent"]["ci95"] == pytest.approx(half)
    skating = [foot_skating_ratio(p) for p in motions.positions]
    assert found["foot_skating_ratio"]["value"] == pytest.approx(np.mean(skating))
    alignment = [beat_alignment_score(p, np.arange(0, 2, 0.5)) for p in motions.positions]
    assert found["beat_alignment_score"]["value"] == pytest.approx(np.mean(np.array(alignment, float)))
    assert found["physical_foot_contact"]["note"].endswith("at 30 fps")


def test_a_set_is_itself_and_a_larger_swing_is_seen() -> None:
    gt = Motions("gt", dances(30))
    same = by_name(score(gt, gt))
    assert same["fid_k"]["value"] == pytest.approx(0, abs=1e-6)
    assert same["fid_g"]["value"] == pytest.approx(0, abs=1e-6)
    assert same["recall_k"]["value"] == same["precision_k"]["value"] == 1
    wild = by_name(score(Motions("wild", dances(30, seed=1, size=3)), gt))
    assert wild["fid_k"]["value"] > 10 * by_name(score(Motions("mild", dances(30, seed=1)), gt))["fid_k"]["value"]
    assert wild["dist_k"]["value"] > same["dist_k"]["value"]
    assert wild["precision_k"]["value"] < 0.2


def test_small_samples_say_so(rows: list[Row]) -> None:
    small = by_name(rows)
    assert "needs 720 to be sound" in small["fid_k"]["note"]
    assert "fewer motions than the 72 features" in small["fid_k"]["note"]
    assert "real motion would be at" in small["fid_k"]["note"]
    assert "needs 60 to be sound" in small["fd_embedding"]["note"]
    assert "needs 300 to be sound" in small["recall_k"]["note"]
    assert small["jerk_m_s3"]["note"] == ""
    assert small["multimodality"]["n"] == 4


def test_features_that_never_vary_in_the_reference_are_left_out() -> None:
    """Their scale would be 1e-10, and one motion that lies down would outweigh everything."""
    gt, generated = dances(40), dances(40, seed=1)
    generated[0] = generated[0][..., [0, 2, 1]]
    row = by_name(score(Motions("generated", generated), Motions("gt", gt)))["fid_g"]
    assert "constant in the reference left out" in row["note"]
    assert row["value"] < 1e4


def performance(*dancers: np.ndarray, fps: float = 30) -> Performance:
    return Performance(tuple(Motion(dancer[:40], fps) for dancer in dancers))


def test_solos_are_scored_as_their_motions() -> None:
    positions = [p[:40] for p in dances(8)]
    beats = [np.arange(0, 1, 0.5) if i % 2 else None for i in range(8)]
    captions = [f"dance {i % 3}" for i in range(8)]
    solos = Motions.of_performances("x", [performance(p) for p in positions], beats, captions)
    gt = Motions("gt", dances(9, seed=1))
    assert score(solos, gt) == score(Motions("x", positions, 30, beats, captions), gt)


def test_every_dancer_counts_as_one_motion_with_the_music_and_caption_of_its_performance() -> None:
    a, b, c = (p[:40] for p in dances(3))
    beats = np.arange(0, 1, 0.5)
    both = Motions.of_performances("x", [performance(a, b), performance(c)], [beats, None], ["two", "one"])
    apart = Motions("x", [a, b, c], 30, [beats, beats, None], ["two", "two", "one"])
    assert len(both) == 3
    assert (both.captions, both.fps) == (apart.captions, apart.fps)
    gt = Motions("gt", dances(9, seed=1))
    assert score(both, gt) == score(apart, gt)
    assert by_name(score(both, gt))["beat_alignment_score"]["n"] == 2


@pytest.mark.parametrize(
    ("performances", "more", "field"),
    [
        ([], {}, "x.positions"),
        ([1, 1], {"beats": [None]}, "x.beats"),
        ([1, 1], {"captions": ["a", "b", "c"]}, "x.captions"),
        ([1, 2], {}, "x.fps"),
    ],
)
def test_performances_that_do_not_fit_are_refused(performances: list[int], more: Any, field: str) -> None:
    made = [performance(dances(1)[0], fps=30 * rate) for rate in performances]
    with pytest.raises(InvalidInput) as caught:
        Motions.of_performances("x", made, **more)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"positions": []}, "x.positions"),
        ({"positions": [np.ones((9, 22, 3)), np.ones((1, 22, 3))]}, "x.positions[1]"),
        ({"positions": [np.ones((9, 22, 3)), np.full((9, 22, 3), np.nan)]}, "x.positions[1]"),
        ({"positions": [np.ones((9, 22, 3)), np.ones((9, 24, 3))]}, "x.positions[1]"),
        ({"beats": [None]}, "x.beats"),
        ({"captions": ["one"] * 3}, "x.captions"),
        ({"motion_embeddings": np.ones((3, 4))}, "x.motion_embeddings"),
        ({"text_embeddings": np.full((2, 4), np.inf)}, "x.text_embeddings"),
        ({"fps": 0}, "fps"),
    ],
)
def test_sets_that_do_not_fit_are_refused(changes: dict[str, object], field: str) -> None:
    fields: dict[str, object] = {"name": "x", "positions": dances(2)}
    with pytest.raises(InvalidInput) as caught:
        Motions(**(fields | changes))  # type: ignore[arg-type]
    assert caught.value.field == field


def test_embeddings_of_another_space_are_refused() -> None:
    with pytest.raises(InvalidInput):
        score(
            Motions("x", dances(3), motion_embeddings=np.ones((3, 4))),
            Motions("gt", dances(3), motion_embeddings=np.ones((3, 5))),
        )


@pytest.mark.data
def test_real_dance_beside_real_dance() -> None:
    """Windows of one waltz beside windows of another: nearer to each other than to their own slow motion."""
    pack = DataPack(data_pack())

    def windows(key: str) -> list[np.ndarray]:
        p = pack.recording(key).positions
        return [p[i : i + 120] for i in range(0, len(p) - 119, 30)]

    keys = [key for key in pack.keys if key.startswith("W_")][:2]
    one, other = windows(keys[0]), windows(keys[1])
    slow = [np.repeat(p, 2, axis=0)[: len(p)] for p in one]
    gt = Motions("gt", other)
    near, far = by_name(score(Motions("dance", one), gt)), by_name(score(Motions("slow", slow), gt))
    assert near["fid_k"]["value"] < far["fid_k"]["value"]
    assert near["foot_skating_ratio"]["value"] < 0.4
    assert 0 < near["physical_foot_contact"]["value"] < 20
