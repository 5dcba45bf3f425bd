"""Training a pose VAE: the shipped recipes, smoke runs, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from tiny_text_motion import clip

from choreo.errors import InvalidArtifact, InvalidInput
from choreo.models.pose_vae import load_pose_vae
from choreo.motion.kinematics import heading
from choreo.training.poses import poses_of, train_poses
from choreo.training.recipe import PoseRecipe, load_recipe
from choreo.training.run import train

RECIPES = Path(__file__).parents[3] / "recipes"
CLIPS = [clip(seed, "a dance", 60) for seed in range(3)]


def recipe(kind: str) -> PoseRecipe:
    read = load_recipe(RECIPES / f"pose-{kind}.yaml")
    assert isinstance(read, PoseRecipe)
    return read


def test_the_recipes_differ_in_their_layers_alone() -> None:
    graph, mlp = recipe("graph"), recipe("mlp")
    same = {"name": "", "network": graph.network}
    assert graph.model_copy(update=same) == mlp.model_copy(update=same)
    assert graph.network == mlp.network.model_copy(update={"layers": "graph"})


def test_poses_face_forward_around_the_pelvis() -> None:
    poses = poses_of(CLIPS[0])
    assert poses.shape == (60, 22, 3)
    np.testing.assert_allclose(poses[:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(heading(poses), 0, atol=1e-4)


@pytest.mark.parametrize("kind", ["graph", "mlp"])
def test_a_smoke_run_trains_and_resumes(kind: str, tmp_path: Path) -> None:
    small = recipe(kind).smoke()
    train_poses(small, CLIPS[:2], CLIPS[2:], tmp_path, until=3)
    folder = train_poses(small, CLIPS[:2], CLIPS[2:], tmp_path)
    assert load_pose_vae(folder).config == small.network
    assert (folder / "scores.json").is_file()


def test_a_folder_of_another_architecture_is_refused(tmp_path: Path) -> None:
    train_poses(recipe("graph").smoke(), CLIPS[:2], [], tmp_path)
    with pytest.raises(InvalidArtifact, match="another architecture"):
        train_poses(recipe("mlp").smoke(), CLIPS[:2], [], tmp_path)


def test_there_must_be_a_clip(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no clip to train on"):
        train(recipe("graph").smoke(), None, tmp_path)
