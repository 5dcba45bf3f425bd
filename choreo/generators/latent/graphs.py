"""The graphs of a latent generator, as its spec describes them."""

from collections.abc import Sequence
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from choreo.diffusion.parameters import DiffusionParameters
from choreo.errors import InvalidArtifact
from choreo.generators.spec import GeneratorSpec, GraphSpec, Null, Role, TensorSpec

FAMILY: Final = "latent"
ENCODER: Final = "encoder"
DENOISER: Final = "denoiser"
DECODER: Final = "decoder"
OVERLAP: Final = "overlap"
"""Parameter of the spec: tokens that neighbouring windows of a long motion share."""
PATCH: Final = 2
"""Frames of one position after the first halving of the rate; the second one doubles it."""


class LatentScale(BaseModel):
    """Mean and standard deviation (channels,) of the latents of the training windows, before they are scaled."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if not self.latent_std or min(self.latent_std) <= 0 or len(self.latent_mean) != len(self.latent_std):
            raise ValueError("latent_mean and latent_std must have one entry per channel, and latent_std be positive")
        return self

    @classmethod
    def of(cls, spec: GeneratorSpec) -> "LatentScale | None":
        """That of a spec; None where the latents have not been measured.

        Raises:
            InvalidArtifact: it is broken.
        """
        if "latent_std" not in spec.parameters:
            return None
        try:
            return cls.model_validate(spec.parameters)
        except ValidationError as error:
            raise InvalidArtifact(f"{spec.name}: the scale of its latents is broken: {error}") from error

    @classmethod
    def needed(cls, spec: GeneratorSpec) -> "LatentScale":
        """That of a spec.

        Raises:
            InvalidArtifact: it is broken, or the latents have not been measured.
        """
        scale = cls.of(spec)
        if scale is None:
            raise InvalidArtifact(
                f"{spec.name}: its latents were not scaled to unit variance, as when a training run ended before its "
                "denoiser; call `choreo train` again to go on"
            )
        return scale


def latent_spec(
    name: str,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    window: int = 256,
    tokens: int = 16,
    channels: int = 32,
    overlap: int = 0,
    scale: LatentScale | None = None,
    fps: int = 30,
    music_encoder: str = "dsp35",
    music_dim: int = 35,
    text_encoder: str = "minilm",
    text_dim: int = 384,
    rhythm_channels: int = 8,
    parameters: DiffusionParameters | None = None,
    representation: str = "root-velocity-66",
) -> GeneratorSpec:
    """The contract of a latent generator of these sizes.

    With T = window, C = channels of the motion, N = tokens, D = channels of a token, P = T / N frames of a token (the
    rows' axis left out):

    encoder: `known` [T, C], `known_mask` [T, C] -> `given` [N, D], 0 where nothing is known, `given_mask` [N, 1], the
    share of a token that is known. With everything known `given` is the latent of the motion.

    denoiser: `x` [N, D], `t` [1], `text` [text_dim], `has_text` [1], `music` [N, P, music_dim], `music_mask` [N, P],
    `rhythm` [N, P, rhythm_channels], `prior` [N, P, C], `prior_mask` [N, P], `given` [N, D], `given_mask` [N, 1]
    -> `x0` or `eps` [N, D].

    decoder: `latents` [N, D] -> `features` [T, C].

    All latents in them are scaled to mean 0 and variance 1.

    Args:
        overlap: tokens that neighbouring windows share; 0 for generators of a single window.
        scale: of the latents; None before it has been measured, which no server takes.
    """
    parameters = parameters or DiffusionParameters()
    token_frames, motion = window // tokens, len(mean)
    of_latents = {} if scale is None else scale.model_dump(mode="json")
    given = (
        TensorSpec(name="given", shape=(tokens, channels)),
        TensorSpec(name="given_mask", shape=(tokens, 1), role=Role.MASK),
    )
    return GeneratorSpec(
        name=name,
        family=FAMILY,
        representation=representation,
        window=window,
        fps=fps,
        mean=tuple(mean),
        std=tuple(std),
        music_encoder=music_encoder,
        music_dim=music_dim,
        text_encoder=text_encoder,
        text_dim=text_dim,
        graphs=(
            _encoder(window, motion, given),
            _denoiser(tokens, channels, token_frames, motion, music_dim, text_dim, rhythm_channels, parameters, given),
            _decoder(window, motion, tokens, channels),
        ),
        parameters=parameters.model_dump(mode="json") | {OVERLAP: overlap} | of_latents,
    )


def _encoder(window: int, motion: int, given: tuple[TensorSpec, ...]) -> GraphSpec:
    return GraphSpec(
        name=ENCODER,
        inputs=(
            TensorSpec(name="known", shape=(window, motion)),
            TensorSpec(name="known_mask", shape=(window, motion), role=Role.MASK),
        ),
        outputs=given,
        per_step=False,
        cost=0.5,
    )


def _denoiser(
    tokens: int,
    channels: int,
    frames: int,
    motion: int,
    music: int,
    text: int,
    rhythm: int,
    parameters: DiffusionParameters,
    given: tuple[TensorSpec, ...],
) -> GraphSpec:
    return GraphSpec(
        name=DENOISER,
        inputs=(
            TensorSpec(name="x", shape=(tokens, channels)),
            TensorSpec(name="t", shape=(1,), role=Role.INDEX, limit=parameters.num_train_timesteps),
            TensorSpec(name="text", shape=(text,), null=Null.ZEROS),
            TensorSpec(name="has_text", shape=(1,), role=Role.MASK, null=Null.ZEROS),
            TensorSpec(name="music", shape=(tokens, frames, music), null=Null.ZEROS),
            TensorSpec(name="music_mask", shape=(tokens, frames), role=Role.MASK, null=Null.ZEROS),
            TensorSpec(name="rhythm", shape=(tokens, frames, rhythm), null=Null.ZEROS),
            TensorSpec(name="prior", shape=(tokens, frames, motion), null=Null.ZEROS),
            TensorSpec(name="prior_mask", shape=(tokens, frames), role=Role.MASK, null=Null.ZEROS),
            *given,
        ),
        outputs=(TensorSpec(name=parameters.prediction.value, shape=(tokens, channels)),),
    )


def _decoder(window: int, motion: int, tokens: int, channels: int) -> GraphSpec:
    return GraphSpec(
        name=DECODER,
        inputs=(TensorSpec(name="latents", shape=(tokens, channels)),),
        outputs=(TensorSpec(name="features", shape=(window, motion)),),
        per_step=False,
        cost=0.5,
    )
