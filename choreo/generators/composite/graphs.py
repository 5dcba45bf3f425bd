"""The graphs of a composite generator, as its spec describes them: those of a U-Net, and two that plan."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from choreo.errors import InvalidArtifact
from choreo.generators.spec import GeneratorSpec, GraphSpec, Role, TensorSpec
from choreo.generators.windowed_spec import windowed_spec
from choreo.models.tokenizer_config import TOKEN_FRAMES

FAMILY: Final = "composite"
GPT: Final = "gpt"
DECODER: Final = "decoder"
MAX_POSITIONS: Final = 65_536
"""Tokens of the longest sequence, more than two hours."""


class PlanParameters(BaseModel):
    """How a composite generator plans, in its spec's `parameters`.

    Attributes:
        key_pose_interval: frames from one key pose to the next where there are no beats, a multiple of a token's.
        top_p: least probability of the tokens that are drawn from.
        temperature: of the logits.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    key_pose_interval: int = Field(16, ge=TOKEN_FRAMES, le=256, multiple_of=TOKEN_FRAMES)
    top_p: float = Field(0.9, gt=0, le=1)
    temperature: float = Field(1.0, gt=0, le=10)

    @classmethod
    def of(cls, spec: GeneratorSpec) -> "PlanParameters":
        """Those of a spec.

        Raises:
            InvalidArtifact: they are broken.
        """
        try:
            return cls.model_validate(spec.parameters)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise InvalidArtifact(f"{spec.name}: its parameter {where} is broken: {first['msg']}") from error


def composite_spec(
    name: str,
    *,
    codes: int,
    width: int = 256,
    layers: int = 6,
    context: int = 64,
    plan: PlanParameters | None = None,
    **of_unet: Any,
) -> GeneratorSpec:
    """The contract of a composite generator.

    Args:
        name: of the generator.
        codes: tokens that there are.
        width: of the language model.
        layers: of the language model.
        context: tokens that it sees.
        plan: how it plans; None: the defaults.
        of_unet: arguments of `windowed_spec`, whose graphs it has as well.
    """
    unet = windowed_spec(name, family=FAMILY, **of_unet)
    rhythm = unet.graph("denoiser").input_shapes["rhythm"][1]
    graphs = plan_graphs(
        codes=codes,
        width=width,
        layers=layers,
        context=context,
        channels=unet.channels,
        music_dim=unet.music_dim,
        text_dim=unet.text_dim,
        rhythm_channels=rhythm,
    )
    parameters = unet.parameters | (plan or PlanParameters()).model_dump(mode="json")
    return unet.model_copy(update={"graphs": (*graphs, *unet.graphs), "parameters": parameters})


def plan_graphs(
    *,
    codes: int,
    width: int,
    layers: int,
    context: int,
    channels: int,
    music_dim: int,
    text_dim: int,
    rhythm_channels: int,
) -> tuple[GraphSpec, GraphSpec]:
    """The language model's step, and the tokeniser's decoder.

    With K = codes, L = layers, S = context, W = width, P = frames of a token, C = channels (the rows' axis left out):

    gpt: `token` [1], the one before, K at the beginning; `position` [1]; `music` [P, music_dim], `music_mask` [P] and
    `rhythm` [P, rhythm_channels] of the frames of the token that is next; `text` [text_dim], `has_text` [1]; `cache`
    [2 L, S, W] keys and values of the tokens before, `cache_mask` [S] -> `logits` [K + 1], of which the last is that of
    the end, `entry` [2 L, W] for the cache.

    decoder: `tokens` [S], `token_mask` [S] -> `features` [P S, C], normalised.
    """
    patch = TOKEN_FRAMES
    gpt = GraphSpec(
        name=GPT,
        inputs=(
            TensorSpec(name="token", shape=(1,), role=Role.INDEX, limit=codes + 1),
            TensorSpec(name="position", shape=(1,), role=Role.INDEX, limit=MAX_POSITIONS),
            TensorSpec(name="music", shape=(patch, music_dim)),
            TensorSpec(name="music_mask", shape=(patch,), role=Role.MASK),
            TensorSpec(name="rhythm", shape=(patch, rhythm_channels)),
            TensorSpec(name="text", shape=(text_dim,)),
            TensorSpec(name="has_text", shape=(1,), role=Role.MASK),
            TensorSpec(name="cache", shape=(2 * layers, context, width)),
            TensorSpec(name="cache_mask", shape=(context,), role=Role.MASK),
        ),
        outputs=(TensorSpec(name="logits", shape=(codes + 1,)), TensorSpec(name="entry", shape=(2 * layers, width))),
        max_rows=16,  # a row with its cache weighs nearly a megabyte
        per_step=False,  # a step is so small that one instance serves all, and there is nothing to tune
        cost=0.1,
    )
    decoder = GraphSpec(
        name=DECODER,
        inputs=(
            TensorSpec(name="tokens", shape=(context,), role=Role.INDEX, limit=codes),
            TensorSpec(name="token_mask", shape=(context,), role=Role.MASK),
        ),
        outputs=(TensorSpec(name="features", shape=(patch * context, channels)),),
        per_step=False,
        cost=0.5,
    )
    return gpt, decoder
