"""Encoders that a recipe names: checked, written into the checkpoint, and used."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from dataset_files import write_humanml3d
from tiny_training import clips, recipe, trainer

import choreo.text.clip
from choreo.data.synthetic.clips import synthetic_clips
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.checkpoint import load_generator, save_generator
from choreo.generators.unet.model import UNetModel
from choreo.generators.unet.recipe import UNetRecipe
from choreo.generators.unet.training import generator_config
from choreo.models.tmr import TextMotionSpec, load_text_motion
from choreo.training.loop import TrainingRun
from choreo.training.recipe import TextMotionRecipe, load_recipe
from choreo.training.run import train

CONDITIONER = {"context_dim": 8, "num_heads": 2}
DENOISER = {
    "model_channels": 8, "channel_mult": [1, 2], "num_res_blocks": 1, "attention_resolutions": [2], "num_heads": 2,
    "context_dim": 8,
}  # fmt: skip


class FakeClip:
    """768 numbers that depend on the length of a sentence; remembers what it was asked."""

    name, dim = "clip", 768
    asked: list[str] = []  # noqa: RUF012

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked.extend(texts)
        return np.array([[len(text)] * self.dim for text in texts], np.float32).reshape(-1, self.dim)


def read(folder: Path, conditioner: dict[str, int] | None = None, **fields: Any) -> UNetRecipe | TextMotionRecipe:
    """A recipe from a file; one for a generator has narrow networks."""
    if not fields.keys() & {"kind", "distillation"}:
        fields |= {"conditioner": CONDITIONER | (conditioner or {}), "denoiser": DENOISER}
    (folder / "recipe.yaml").write_text(yaml.safe_dump({"name": "named"} | fields))
    return load_recipe(folder / "recipe.yaml")


def test_the_defaults_are_the_embedded_encoders(tmp_path: Path) -> None:
    made = read(tmp_path)
    assert isinstance(made, UNetRecipe)
    assert (made.music_encoder, made.text_encoder) == ("dsp35", "minilm")
    made = read(tmp_path, kind="text-motion")
    assert isinstance(made, TextMotionRecipe)
    assert made.text_encoder == made.network.text_encoder == "minilm"


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"music_encoder": "mp3"}, "music_encoder", "'dsp35' or 'jukebox'"),
        ({"text_encoder": "bert"}, "text_encoder", "'minilm', 'clip' or 't5'"),
        ({"music_encoder": "jukebox"}, "conditioner.music_dim", "is 35, but the encoder jukebox gives 4800 numbers"),
        ({"conditioner": {"music_dim": 4800}}, "conditioner.music_dim", "is 4800, but the encoder dsp35 gives 35"),
        ({"text_encoder": "t5"}, "conditioner.text_dim", "is 384, but the encoder t5 gives 768 numbers"),
        ({"kind": "text-motion", "text_encoder": "clip"}, "network.text_dim", "clip gives 768 numbers"),
        (
            {"kind": "text-motion", "text_encoder": "clip", "network": {"text_encoder": "t5", "text_dim": 768}},
            "network",
            "names the text encoder t5, but the recipe's is clip",
        ),
    ],
)
def test_encoders_that_do_not_fit_are_refused(fields: dict[str, Any], field: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=message) as caught:
        read(tmp_path, **fields)
    assert caught.value.field == field


def test_a_recipe_made_in_python_is_checked_before_data_is_read(tmp_path: Path) -> None:
    narrow = recipe()
    with pytest.raises(InvalidInput) as caught:
        train(narrow, tmp_path / "nowhere", tmp_path / "run")
    assert caught.value.field == "conditioner.text_dim"
    assert not (tmp_path / "run").exists()


def test_the_text_motion_network_carries_the_recipes_encoder(tmp_path: Path) -> None:
    made = read(tmp_path, kind="text-motion", text_encoder="clip", network={"text_dim": 768})
    assert isinstance(made, TextMotionRecipe)
    assert (made.network.text_encoder, made.network.text_dim) == ("clip", 768)
    assert TextMotionRecipe.model_validate_json(made.model_dump_json()) == made


def test_training_embeds_by_the_named_encoder_and_writes_it_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choreo.text.clip, "ClipTextEncoder", FakeClip)
    monkeypatch.setattr(FakeClip, "asked", [])
    made = read(
        tmp_path, text_encoder="clip", conditioner={"text_dim": 768}, data={"synthetic_dances": 3},
        train={"validation_dances": 0},
    )  # fmt: skip
    spec = load_generator(train(made.smoke(), None, tmp_path / "run", until=1)).spec
    assert (spec.music_encoder, spec.music_dim, spec.text_encoder, spec.text_dim) == ("dsp35", 35, "clip", 768)
    assert {clip.captions[0].text for clip in synthetic_clips(3)} <= set(FakeClip.asked)


def test_a_text_motion_encoder_of_another_text_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choreo.text.clip, "ClipTextEncoder", FakeClip)
    names = ("000001", "000002", "000003", "000004")
    write_humanml3d(tmp_path / "data", names)
    for side, some in (("train", names[:2]), ("val", names[2:3]), ("test", names[3:])):
        (tmp_path / "data" / f"{side}.txt").write_text("\n".join(some))
    network = {
        "text_dim": 768, "dim": 16, "num_heads": 2, "feedforward": 16, "motion_layers": 1, "text_layers": 1,
        "decoder_layers": 1, "latent_dim": 8,
    }  # fmt: skip
    made = read(tmp_path, kind="text-motion", text_encoder="clip", network=network)
    spec = load_text_motion(train(made.smoke(), tmp_path / "data", tmp_path / "run", until=1)).spec
    assert isinstance(spec, TextMotionSpec)
    assert (spec.network.text_encoder, spec.network.text_dim) == ("clip", 768)


def test_a_student_has_its_teachers_encoders(tmp_path: Path) -> None:
    wide = recipe().model_copy(update={"text_encoder": "t5"})
    wide = wide.model_copy(update={"conditioner": wide.conditioner.model_copy(update={"text_dim": 768})})
    teacher = UNetModel(generator_config(wide, clips()))
    save_generator(tmp_path / "teacher", teacher.config, teacher.state_dict())
    made = read(tmp_path, distillation={"teacher": "teacher"})
    assert isinstance(made, UNetRecipe)
    assert (made.music_encoder, made.text_encoder) == ("dsp35", "t5")
    with pytest.raises(InvalidInput, match="the teacher's") as caught:
        read(tmp_path, distillation={"teacher": "teacher"}, text_encoder="clip")
    assert caught.value.field == "text_encoder"


def test_a_run_does_not_go_on_with_another_encoder_of_the_same_width(tmp_path: Path) -> None:
    made = recipe().model_copy(update={"text_encoder": "t5"})
    trainer(tmp_path, made).run(until=3)
    assert isinstance(trainer(tmp_path, made), TrainingRun)
    with pytest.raises(InvalidArtifact, match="another text_encoder"):
        trainer(tmp_path, made.model_copy(update={"text_encoder": "clip"}))
