"""The graphs of a conditioner and a denoiser over windows, as their spec describes them."""

from collections.abc import Sequence

from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.schedule import Prediction, ScheduleName
from choreo.generators.spec import GeneratorSpec, GraphSpec, Null, Role, TensorSpec
from choreo.generators.windowed import CONDITIONER, DENOISER


def windowed_spec(
    name: str,
    *,
    family: str,
    mean: Sequence[float],
    std: Sequence[float],
    context_dim: int,
    context_tokens: int = 50,
    window: int = 196,
    fps: int = 30,
    music_encoder: str = "dsp35",
    music_dim: int = 35,
    text_encoder: str = "minilm",
    text_dim: int = 384,
    rhythm_channels: int = 4,
    prediction: Prediction | str = Prediction.X0,
    schedule: ScheduleName | str = ScheduleName.COSINE,
    num_train_timesteps: int = 1000,
    representation: str = "root-velocity-66",
) -> GeneratorSpec:
    """The contract of a generator with networks of these sizes; `family` is its name in the registry.

    With T = window, C = channels, L = context_tokens, D = context_dim, R = rhythm_channels (the rows' axis left out):

    conditioner: `music` [T, music_dim], `music_mask` [T], `text` [text_dim], `has_music` [1], `has_text` [1]
    -> `context` [L, D], `context_mask` [L].

    denoiser: `x` [T, C], `t` [1], `context` [L, D], `context_mask` [L], `prior` [T, C + 1] (last channel its mask),
    `known` [T, C], `known_mask` [T, C], `rhythm` [T, R], `frame_mask` [T] -> `x0` or `eps` [T, C].
    """
    parameters = DiffusionParameters(
        prediction=Prediction(prediction), schedule=ScheduleName(schedule), num_train_timesteps=num_train_timesteps
    )
    context = (
        TensorSpec(name="context", shape=(context_tokens, context_dim), null=Null.ENCODED),
        TensorSpec(name="context_mask", shape=(context_tokens,), role=Role.MASK, null=Null.ENCODED),
    )
    return GeneratorSpec(
        name=name,
        family=family,
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
            _conditioner(window, music_dim, text_dim, context),
            _denoiser(window, len(mean), rhythm_channels, context, parameters),
        ),
        parameters=parameters.model_dump(mode="json"),
    )


def _conditioner(window: int, music_dim: int, text_dim: int, context: tuple[TensorSpec, ...]) -> GraphSpec:
    return GraphSpec(
        name=CONDITIONER,
        inputs=(
            TensorSpec(name="music", shape=(window, music_dim), null=Null.ZEROS),
            TensorSpec(name="music_mask", shape=(window,), role=Role.MASK, null=Null.ONES),
            TensorSpec(name="text", shape=(text_dim,), null=Null.ZEROS),
            TensorSpec(name="has_music", shape=(1,), role=Role.MASK, null=Null.ZEROS),
            TensorSpec(name="has_text", shape=(1,), role=Role.MASK, null=Null.ZEROS),
        ),
        outputs=tuple(tensor.model_copy(update={"null": Null.SAME}) for tensor in context),
        max_rows=16,
        per_step=False,
        cost=0.1,
    )


def _denoiser(
    window: int, channels: int, rhythm: int, context: tuple[TensorSpec, ...], parameters: DiffusionParameters
) -> GraphSpec:
    return GraphSpec(
        name=DENOISER,
        inputs=(
            TensorSpec(name="x", shape=(window, channels)),
            TensorSpec(name="t", shape=(1,), role=Role.INDEX, limit=parameters.num_train_timesteps),
            *context,
            TensorSpec(name="prior", shape=(window, channels + 1), role=Role.MASKED, null=Null.ZEROS),
            TensorSpec(name="known", shape=(window, channels)),
            TensorSpec(name="known_mask", shape=(window, channels), role=Role.MASK),
            TensorSpec(name="rhythm", shape=(window, rhythm), null=Null.ZEROS),
            TensorSpec(name="frame_mask", shape=(window,), role=Role.MASK),
        ),
        outputs=(TensorSpec(name=parameters.prediction.value, shape=(window, channels)),),
    )
