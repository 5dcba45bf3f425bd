"""Recipes: everything that decides a training run, read from one YAML file.

A generator's recipe is of the type that its family declares; what all of them have is `GeneratorRecipe`.
"""

from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from choreo.data.licences import Licences
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.registry import GeneratorUnavailable, families, generator_class
from choreo.generators.spec import NAME
from choreo.models.pose_vae import PoseVaeConfig
from choreo.models.tmr import TextMotionConfig
from choreo.motion.representation import ROOT_VELOCITY_66, representation
from choreo.motion.skeleton import WINDOW
from choreo.music.encoders import DSP35, MusicEncoder, MusicEncoderName, music_encoder
from choreo.text.encoders import TextEncoder, TextEncoderName, text_encoder
from choreo.training.contrastive import ContrastiveWeights
from choreo.training.losses import LossWeights
from choreo.training.options import DataConfig, TrainConfig


class GeneratorRecipe(BaseModel):
    """One training run of a generator; families add their networks' sizes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["generator"] = "generator"
    name: str = Field(pattern=NAME)
    architecture: str
    """Family of the generator, a name in `choreo.generators.registry`."""
    music_encoder: MusicEncoderName = "dsp35"
    """Encoder of songs."""
    text_encoder: TextEncoderName = "minilm"
    """Encoder of sentences."""
    representation: str = ROOT_VELOCITY_66.name
    """How motion is numbers, a name in `choreo.motion.representation`."""
    losses: LossWeights = LossWeights()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()

    decisive: ClassVar[tuple[str, ...]] = ("architecture", "music_encoder", "text_encoder", "representation")
    """Fields that weights depend on; a run does not resume with others."""

    @field_validator("representation")
    @classmethod
    def _known_representation(cls, name: str) -> str:
        try:
            return representation(name).name
        except InvalidArtifact as error:
            raise ValueError(str(error)) from error

    @classmethod
    def completed(cls, document: Any, folder: Path) -> Any:
        """A recipe's document, completed by what other files say; `folder` is the recipe's.

        Raises:
            InvalidInput: another file is missing or does not fit.
        """
        return document

    @property
    def window(self) -> int:
        """Frames of a training window."""
        return WINDOW

    @property
    def music_dim(self) -> int:
        """Columns of the music features that the networks take."""
        return music_encoder(self.music_encoder).dim

    @property
    def text_dim(self) -> int:
        """Numbers of a sentence embedding that the networks take."""
        return text_encoder(self.text_encoder).dim

    def smoke(self) -> Self:
        """The same network and the same code for a minute: a few steps on a few clips.

        Synthetic dances are added where their songs can be encoded on every machine, so that no data are needed.
        """
        dances = 6 if self.music_encoder == DSP35.name else min(self.data.synthetic_dances, 6)
        data = {
            "most_recordings": 8, "paired_per_piece": min(self.data.paired_per_piece, 1), "synthesized_songs": 2,
            "synthetic_dances": dances,
        }  # fmt: skip
        train = {
            "max_steps": 6, "batch_size": 4, "warmup_steps": 1, "log_every": 1, "validate_every": 3, "save_every": 3,
            "tracker": "none", "validation_dances": min(self.train.validation_dances, 4), "validation_num_steps": 2,
        }  # fmt: skip
        return self.model_copy(
            update={"data": self.data.model_copy(update=data), "train": self.train.model_copy(update=train)}
        )


class TextMotionRecipe(BaseModel):
    """One training run of the text-motion encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["text-motion"] = "text-motion"
    name: str
    text_encoder: TextEncoderName = "minilm"
    """Encoder of sentences; `network.text_dim` must be its width."""
    network: TextMotionConfig = Field(TextMotionConfig(), validate_default=True)
    losses: ContrastiveWeights = ContrastiveWeights()
    licences: Licences = Licences.ALL
    """Which material the run learns from: all of it, or what is cleared for weights that are shipped."""
    purge: bool = False
    """Cut stretches that a held-out dance repeats out of the training split."""
    text_noise: float = Field(0.01, ge=0)
    """Standard deviation of the noise that training adds to each number of a sentence embedding."""
    patience: int = Field(10, ge=1)
    """Validations without a better one after which a run ends."""
    train: TrainConfig = TrainConfig()

    @field_validator("network")
    @classmethod
    def _with_encoder(cls, network: TextMotionConfig, info: ValidationInfo) -> TextMotionConfig:
        """The network with the recipe's encoder: its configuration is what travels with the checkpoint."""
        encoder = info.data.get("text_encoder", network.text_encoder)
        if "text_encoder" in network.model_fields_set and network.text_encoder != encoder:
            raise ValueError(f"names the text encoder {network.text_encoder}, but the recipe's is {encoder}")
        return network.model_copy(update={"text_encoder": encoder})

    @model_validator(mode="after")
    def _one_batch(self) -> "TextMotionRecipe":
        if self.train.gradient_accumulation != 1:
            raise ValueError("gradient_accumulation must be 1: pairs are contrasted within their batch")
        return self

    def smoke(self) -> "TextMotionRecipe":
        """The same network and the same code for a minute."""
        train = {
            "max_steps": 6, "batch_size": 8, "warmup_steps": 1, "log_every": 1, "validate_every": 3, "save_every": 3,
            "tracker": "none",
        }  # fmt: skip
        return self.model_copy(update={"train": self.train.model_copy(update=train)})


class PoseRecipe(BaseModel):
    """One training run of a pose VAE."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["pose"] = "pose"
    name: str = Field(pattern=NAME)
    network: PoseVaeConfig = PoseVaeConfig()
    kl_weight: float = Field(1e-4, ge=0)
    """Weight of the divergence, averaged over the latents; the L1 distance of positions, in metres, has 1."""
    licences: Licences = Licences.ALL
    """Which material the run learns from: all of it, or what is cleared for weights that are shipped."""
    train: TrainConfig = TrainConfig()

    def smoke(self) -> "PoseRecipe":
        """The same network and the same code for a minute."""
        train = {
            "max_steps": 6, "batch_size": 8, "warmup_steps": 1, "log_every": 1, "validate_every": 3, "save_every": 3,
            "tracker": "none",
        }  # fmt: skip
        return self.model_copy(update={"train": self.train.model_copy(update=train)})


Recipe = GeneratorRecipe | TextMotionRecipe | PoseRecipe

KINDS: Final = ("generator", "text-motion", "pose")
"""Values of a recipe's field `kind`; without one a recipe is for a generator."""


DEFAULT_FAMILY: Final = "unet"
"""Family of a recipe without `architecture`."""


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        InvalidInput: not a file, not YAML, or a field that is unknown, out of range, or not the width of an encoder.
    """
    recipe = _read(path)
    check_widths(recipe)
    return recipe


def check_widths(recipe: Recipe) -> None:
    """Check that the networks take vectors of the widths that the named encoders give.

    Raises:
        InvalidInput: one of another width; the message names the field.
    """
    widths: list[tuple[str, int, MusicEncoder | TextEncoder]] = []
    if isinstance(recipe, GeneratorRecipe):
        widths.append(("conditioner.music_dim", recipe.music_dim, music_encoder(recipe.music_encoder)))
        widths.append(("conditioner.text_dim", recipe.text_dim, text_encoder(recipe.text_encoder)))
    elif isinstance(recipe, TextMotionRecipe):
        widths.append(("network.text_dim", recipe.network.text_dim, text_encoder(recipe.text_encoder)))
    for field, width, encoder in widths:
        if encoder.dim != width:
            raise InvalidInput(field, f"is {width}, but the encoder {encoder.name} gives {encoder.dim} numbers")


def _read(path: Path) -> Recipe:
    try:
        document = yaml.safe_load(path.read_text())
        kind = document.get("kind", KINDS[0]) if isinstance(document, dict) else KINDS[0]
        if kind not in KINDS:
            raise InvalidInput("kind", f"must be one of {', '.join(KINDS)}, got {kind!r}")
        if kind == KINDS[1]:
            return TextMotionRecipe.model_validate(document)
        if kind == KINDS[2]:
            return PoseRecipe.model_validate(document)
        family = document.get("architecture", DEFAULT_FAMILY) if isinstance(document, dict) else DEFAULT_FAMILY
        recipe_type = _recipe_type(str(family))
        return recipe_type.model_validate(recipe_type.completed(document, path.parent))
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput("recipe", f"cannot read {path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "recipe"
        raise InvalidInput(where, first["msg"]) from error


def _recipe_type(family: str) -> type[GeneratorRecipe]:
    try:
        return generator_class(family).recipe_type()
    except GeneratorUnavailable as error:
        known = family in families()
        raise InvalidInput(
            "architecture",
            str(error) if known else f"must be one of {', '.join(sorted(families()))}, got {family[:64]!r}",
        ) from error
