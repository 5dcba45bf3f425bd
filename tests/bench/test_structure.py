"""The benchmark of sections: its rows, and its control."""

import json

import numpy as np
import pytest

from bench.structure import bar_poses, main, merged, partition, shuffled
from choreo.data.synthetic.song_forms import formed_song
from choreo.motion.kinematics import forward_kinematics
from choreo.motion.rotations import yaw
from choreo.music.structure import Section


@pytest.mark.slow
def test_two_songs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--json", "--preset", "draft"]) == 0
    rows = {(row["case"], row["metric"]): row["value"] for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["music", "songs"] == 2
    assert rows["music", "boundaries within 3 s"] > 0.7
    assert rows["repeated", "distance of repeated bars, less plain"] < 0
    assert rows["shuffled", "skating"] >= 0


@pytest.mark.parametrize("labels", ["AB", "ABAB", "ABACAB", "AABA"])
def test_the_control_repeats_something_else(labels: str) -> None:
    sections = [Section(label, np.arange(i, i + 2.0)) for i, label in enumerate(labels)]
    mixed = shuffled(sections, 3)
    assert [s.start for s in mixed] == [s.start for s in sections]
    assert sorted(s.label for s in mixed) == sorted(labels)
    if labels != "AB":
        assert partition([s.label for s in mixed]) != partition(list(labels))


def test_neighbours_of_one_label_are_one_section() -> None:
    edges, labels = merged(formed_song("AABA", 1, 120))
    assert edges.tolist() == pytest.approx([0, 4, 6, 8])
    assert labels == ["A", "B", "A"]


def test_poses_of_bars_do_not_depend_on_place_and_heading() -> None:
    root = np.tile([0.0, 0.95, 0.0], (90, 1))
    turns = np.tile(np.eye(3), (90, 22, 1, 1))
    still = forward_kinematics(root, turns)
    angle = np.linspace(0, 2, 90)
    moved = np.einsum("tab,tjb->tja", np.stack([yaw(a) for a in angle]), still) + np.linspace(0, 3, 90)[
        :, None, None
    ] * (1, 0, 1)
    edges = np.array([0.0, 1.5, 3.0])
    np.testing.assert_allclose(bar_poses(moved, edges), bar_poses(still, edges), atol=1e-6)
