"""A whole evaluation of the shipped checkpoint, on a small data set of synthetic dances."""

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from choreo.data.synthetic.clips import synthetic_clips
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.npz import npz_bytes
from choreo.motion.representation import decode
from serving.evaluation.dancers import DanceOptions
from serving.evaluation.harness import Evaluation, EvaluationRequest, evaluate
from serving.evaluation.named_models import NamedModel
from serving.evaluation.report import write_report
from serving.settings import Settings


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("dances")
    for i, clip in enumerate(synthetic_clips(14, seed=1)):
        (folder / f"dance_{i}.npz").write_bytes(npz_bytes(Motion(decode(clip.features).astype(np.float32))))
        (folder / f"dance_{i}.txt").write_text(clip.captions[0].text)
        np.save(folder / f"dance_{i}.dsp35.npy", clip.music)
    options, weights = DanceOptions(num_steps=2), Settings().weights
    other = NamedModel(weights, replace(options, changes={"sampler": "ddpm"}), "ddpm:2")
    request = EvaluationRequest(folder, samples=4, replications=2, options=options, beside=(weights, weights, other))
    return asyncio.run(evaluate(request, Settings()))


def test_every_subject_is_scored_beside_real_motion(found: Evaluation) -> None:
    subjects = list(dict.fromkeys(row["subject"] for row in found.rows))
    assert subjects == [
        "gt", "gt_shuffled", "noise", "mean_pose", "frames_shuffled", "untrained", "generated", "shuffled", "retrieval",
        "unet-small", "unet-small, shuffled", "unet-small (2)", "unet-small (2), shuffled",
        "unet-small@ddpm:2", "unet-small@ddpm:2, shuffled",
    ]  # fmt: skip
    assert all(np.isfinite(row["value"]) for row in found.rows)
    values = {(row["subject"], row["metric"]): row["value"] for row in found.rows}
    assert values["mean_pose", "foot_skating_ratio"] == 0
    assert values["frames_shuffled", "jerk_m_s3"] > values["noise", "jerk_m_s3"] > values["gt", "jerk_m_s3"]
    assert values["generated", "bone_length_deviation"] < 1e-5 < values["noise", "bone_length_deviation"]
    assert values["generated", "multimodality"] > 0


def test_a_checkpoint_beside_the_first_dances_with_the_same_seeds(found: Evaluation) -> None:
    values = {(row["subject"], row["metric"]): row["value"] for row in found.rows}
    for metric in ("jerk_m_s3", "kinetic_energy_m2_s2", "multimodality"):
        assert values["unet-small", metric] == pytest.approx(values["generated", metric], rel=1e-3)
        assert values["unet-small@ddpm:2", metric] != pytest.approx(values["generated", metric], rel=1e-3)


def test_a_checkpoint_that_hears_otherwise_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(Settings().weights, other)
    config = json.loads((other / "config.json").read_text())
    config["spec"]["music_encoder"] = "other"
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(InvalidInput, match=r"beside: .*by other, not by dsp35"):
        asyncio.run(evaluate(EvaluationRequest(tmp_path, beside=(other,)), Settings()))


def test_only_beat_paired_stretches_have_a_beat_score(found: Evaluation) -> None:
    beats = {row["subject"]: row["n"] for row in found.rows if row["metric"] == "beat_alignment_score"}
    assert beats["gt"] == beats["generated"] == 2


def test_a_report_has_tables_plots_and_clips(found: Evaluation, tmp_path: Path) -> None:
    write_report(found, tmp_path)
    document = json.loads((tmp_path / "evaluation.json").read_text())
    assert document["stretches"] == 4
    assert document["rows"] == found.rows
    table = (tmp_path / "report.md").read_text()
    assert "| foot_skating_ratio (lower) |" in table
    assert "| bones keep their length |" in table
    page = (tmp_path / "index.html").read_text()
    assert page.count("<svg") == 3
    assert page.count("<video") == 6
    films = [tmp_path / name for name in ("real_0.mp4", "generated_0.mp4")]
    assert all(b"ftyp" in film.read_bytes()[:16] and film.name in page for film in films)


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="data"):
        asyncio.run(evaluate(EvaluationRequest(tmp_path), Settings()))
