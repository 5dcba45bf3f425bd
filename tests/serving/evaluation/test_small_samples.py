"""Evaluations of one or a few stretches, of motion without motion, and of sets without music or embeddings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tiny_text_motion import FakeSentenceEncoder, model, swinging

from choreo.evaluation.motions import Motions
from choreo.evaluation.scorecard import score
from choreo.evaluation.text_motion import TextMotionEncoder
from choreo.motion.clip import Motion
from choreo.motion.performance import Performance
from choreo.motion.skeleton import WINDOW
from choreo.reporting.panels import NOT_ENOUGH
from serving.evaluation import plots
from serving.evaluation import report as reporting
from serving.evaluation.dancers import Dance
from serving.evaluation.harness import Evaluation, EvaluationRequest, Scene, rows_of_dances
from serving.evaluation.stretches import Stretch
from serving.evaluation.subjects import Judge, real_and_controls, unit
from serving.evaluation.targets import verdicts

KINDS: dict[str, Any] = {
    "different": lambda seed: swinging(seed, WINDOW).astype(np.float32),
    "equal": lambda seed: swinging(0, WINDOW).astype(np.float32),
    "still": lambda seed: np.repeat(swinging(0, 2)[:1], WINDOW, axis=0).astype(np.float32),
    "collapsed": lambda seed: np.zeros((WINDOW, 22, 3), np.float32),
}


def evaluation(
    samples: int, kind: str, references: int = 1, beats: int = 0, embedded: bool = False, replications: int = 1
) -> Evaluation:
    """An evaluation of dances that are of the same kind as the real motion."""
    motion = KINDS[kind]
    embedder = TextMotionEncoder(model(), FakeSentenceEncoder()) if embedded else None
    grids = [np.arange(0.2, 6, 0.5) if i < beats else None for i in range(samples)]
    judge = Judge([Stretch(f"s{i}", motion(i), f"dance {i}", None, grids[i]) for i in range(samples)], embedder)
    reference = Motions("training", [motion(10 + i) for i in range(references)])
    if embedder is not None:
        reference = replace(reference, motion_embeddings=unit(embedder.motions(reference.positions)))
    dances = [
        [Dance(Performance.solo(Motion(motion(20 * r + i)))) for i in range(samples)] for r in range(replications)
    ]
    scene = Scene(judge, reference)
    rows = [row for subject in real_and_controls(judge) for row in score(subject, scene.reference)]
    rows += rows_of_dances(scene, dances)
    return Evaluation(EvaluationRequest(Path("data")), rows, verdicts(rows), list(judge.stretches), dances[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("samples", "references", "beats", "embedded", "replications"),
    [
        (1, 1, 0, False, 1),
        (1, 1, 1, True, 1),
        (1, 3, 1, True, 2),
        (2, 1, 1, True, 1),
        (2, 2, 2, False, 2),
        (4, 5, 2, True, 1),
    ],
)
def test_a_report_is_made_of_however_little(
    kind: str,
    samples: int,
    references: int,
    beats: int,
    embedded: bool,
    replications: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporting, "write_preview", lambda *given, **options: None)
    found = evaluation(samples, kind, references, beats, embedded, replications)
    assert all(np.isfinite(row["value"]) for row in found.rows)
    assert all(row["ci95"] is None or np.isfinite(row["ci95"]) for row in found.rows)
    reporting.write_report(found, tmp_path)
    for name in ("scores", "beats", "spread"):
        assert (tmp_path / f"{name}.svg").read_text().startswith("<svg")


def test_what_needs_more_samples_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "write_preview", lambda *given, **options: None)
    found = evaluation(1, "different", embedded=True)
    reporting.write_report(found, tmp_path)
    text, page = (tmp_path / "report.md").read_text(), (tmp_path / "index.html").read_text()
    assert f"* fid_k: {NOT_ENOUGH}: it needs 2 dances" in text
    assert f"* r_precision_top3: {NOT_ENOUGH}: it needs 32 dances" in text
    assert f"fid_k is not measured: {NOT_ENOUGH}" in page
    assert "* beat_alignment_score: no stretch has music whose beats are known" in text
    notes = {row["metric"]: row["note"] for row in found.rows if row["subject"] == "generated"}
    assert "not enough samples for an interval" in notes["jerk_m_s3"]
    without = reporting.not_measured(evaluation(1, "different"))
    assert without["mm_distance"] == "there is no text-motion encoder"
    enough = reporting.not_measured(evaluation(3, "different", references=3, beats=3, embedded=True))
    assert "fid_k" not in enough
    assert "beat_alignment_score" not in enough


def test_one_song_is_not_another_one() -> None:
    judge = Judge([Stretch("s", KINDS["equal"](0), "a dance", None, np.arange(0.0, 6, 0.5))], None)
    assert judge.foreign_beats == [None]


def drawn_points(svg: str) -> int:
    return svg.count("<use ")


@pytest.mark.parametrize("real", [[], ["different"], ["different", "different"], ["equal"] * 4, ["still"] * 4])
def test_components_that_do_not_exist_are_not_drawn(real: list[str]) -> None:
    motions = [KINDS[kind](i) for i, kind in enumerate(real)]
    svg = plots.among_real([("real", motions), ("generated", [KINDS["different"](9)])])
    empty = plots.among_real([("real", []), ("generated", [])])
    assert svg.count("<path") == empty.count("<path")


def test_three_motions_are_enough_for_two_components() -> None:
    motions = [KINDS["different"](i) for i in range(3)]
    many = plots.among_real([("real", motions), ("generated", motions[:1])])
    assert drawn_points(many) >= 4


def test_curves_without_beats_are_not_drawn() -> None:
    motion = KINDS["different"](0)
    beats: list[NDArray[np.float64] | None] = [None, np.zeros(0), np.array([1.0]), np.array([50.0, 60.0])]
    for grid in beats:
        assert plots.speed_around_beats([("real", [motion], [grid])]).startswith("<svg")
    assert plots.scores([]).startswith("<svg")
