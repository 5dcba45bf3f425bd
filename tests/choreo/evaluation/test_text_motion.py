from pathlib import Path

import numpy as np
import pytest
from tests_data import data_pack
from tiny_text_motion import NETWORK, SPEC, FakeSentenceEncoder, model, swinging

from choreo.data.layouts.packs import DataPack
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.evaluation.text_motion import TextMotionEncoder
from choreo.models.tmr import TextMotionModel
from choreo.motion.rotations import yaw

SHIPPED = Path(__file__).resolve().parents[3] / "weights" / "tmr-small"


def encoder() -> TextMotionEncoder:
    return TextMotionEncoder(model(), FakeSentenceEncoder())


def motions() -> list[np.ndarray]:
    return [swinging(seed, frames) for seed, frames in enumerate((196, 40, 101, 2, 150, 196, 77))]


def test_embeddings_are_deterministic_and_do_not_depend_on_the_batch() -> None:
    batch = [motion for _ in range(6) for motion in motions()]
    together = encoder().motions(batch)
    np.testing.assert_array_equal(together, encoder().motions(batch))
    alone = np.concatenate([encoder().motions([m]) for m in motions()])
    np.testing.assert_allclose(np.tile(alone, (6, 1)), together, atol=1e-5)
    texts = ["a waltz", "a rumba", "someone walks"]
    np.testing.assert_allclose(np.concatenate([encoder().texts([t]) for t in texts]), encoder().texts(texts), atol=1e-5)


def test_where_a_motion_starts_and_faces_does_not_matter() -> None:
    moved = [m @ yaw(2.1).T + (3.0, 0.0, -1.0) for m in motions()]
    np.testing.assert_allclose(encoder().motions(moved), encoder().motions(motions()), atol=1e-4)


def test_nothing_is_an_empty_answer() -> None:
    assert encoder().motions([]).shape == encoder().texts([]).shape == (0, 16)


@pytest.mark.parametrize("frames", [1, 197])
def test_motions_that_do_not_fit_are_refused(frames: int) -> None:
    with pytest.raises(InvalidInput) as error:
        encoder().motions([swinging(0, frames)])
    assert error.value.field == "positions"


def test_the_longest_motion_is_the_encoders_window() -> None:
    network = NETWORK.model_copy(update={"window": 60})
    short = TextMotionEncoder(
        TextMotionModel(SPEC.model_copy(update={"network": network})).eval(), FakeSentenceEncoder()
    )
    assert short.motions([swinging(0, 60)]).shape == (1, 16)
    with pytest.raises(InvalidInput, match="2 to 60 frames, got 61"):
        short.motions([swinging(0, 61)])


def test_what_is_not_motion_is_refused() -> None:
    for wrong in (np.zeros((10, 21, 3)), np.full((10, 22, 3), np.nan)):
        with pytest.raises(InvalidInput):
            encoder().motions([wrong])


def test_another_sentence_encoder_is_refused() -> None:
    other = FakeSentenceEncoder()
    other.name = "t5"
    with pytest.raises(InvalidInput, match="minilm"):
        TextMotionEncoder(model(), other)


def test_the_shipped_encoder_is_small_and_knows_its_dances() -> None:
    assert (SHIPPED / "model.safetensors").stat().st_size <= 8 * 2**20
    shipped = TextMotionEncoder.load(SHIPPED)
    pack = DataPack(data_pack())
    sentences = ["a person dances salsa", "a person performs an Indian dance", "a person dances ballet", "karate"]
    texts = _unit(shipped.texts(sentences))
    assert texts.shape == (4, 256)
    for row, key in enumerate(("60_06", "94_06", "05_05", "135_07")):
        positions = pack.recording(key).positions
        windows = [positions[i : i + 196] for i in range(0, len(positions) - 195, 98)]
        likeness = (_unit(shipped.motions(windows)) @ texts.T).mean(axis=0)
        assert likeness.argmax() == row, key


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_folder_without_a_checkpoint_is_an_invalid_artifact(tmp_path: Path) -> None:
    with pytest.raises(InvalidArtifact):
        TextMotionEncoder.load(tmp_path)
