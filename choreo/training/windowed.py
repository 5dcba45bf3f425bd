"""What generators over windows are trained on, and how the windows are cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.clip import Clip
from choreo.data.windows.windows import WindowOptions, Windows, feature_statistics
from choreo.diffusion.presets import Preset
from choreo.generators.spec import GeneratorSpec
from choreo.generators.windowed import DENOISER
from choreo.generators.windowed_config import DenoiserSizes
from choreo.generators.windowed_spec import windowed_spec
from choreo.music.beats import RHYTHM_CHANNELS
from choreo.training.held_out_dances import CONDITIONS, HeldOutDances
from choreo.training.loop import num_windows
from choreo.training.recipe import GeneratorRecipe
from choreo.training.windowed_recipe import WindowedRecipe

VALIDATION_WINDOWS: Final = 128


@dataclass(frozen=True)
class TrainingData:
    """What a run learns from.

    Attributes:
        training, held_out: clips, augmented and with priors.
        texts: embedding (E,) of every sentence about them.
    """

    training: Sequence[Clip]
    held_out: Sequence[Clip]
    texts: Mapping[str, NDArray[np.float32]]


def config_fields(recipe: WindowedRecipe, denoiser: DenoiserSizes, clips: Sequence[Clip]) -> dict[str, Any]:
    """Fields of a `WindowedConfig`: sizes from the recipe, statistics from the training clips."""
    conditioner = recipe.conditioner
    mean, std = feature_statistics(clips)
    music = [c.music for c in clips if c.music is not None]
    heard = np.concatenate(music) if music else np.zeros((1, conditioner.music_dim))
    spec = windowed_spec(
        recipe.name,
        family=recipe.architecture,
        window=conditioner.window,
        context_tokens=conditioner.context_tokens,
        context_dim=conditioner.context_dim,
        music_encoder=recipe.music_encoder,
        music_dim=conditioner.music_dim,
        text_encoder=recipe.text_encoder,
        text_dim=conditioner.text_dim,
        rhythm_channels=denoiser.rhythm_channels,
        prediction=recipe.prediction,
        schedule=recipe.schedule,
        num_train_timesteps=recipe.num_train_timesteps,
        representation=recipe.representation,
        mean=np.round(mean, 6).tolist(),
        std=np.round(std, 6).tolist(),
    )
    return {
        "conditioner": conditioner,
        "denoiser": denoiser,
        "spec": spec,
        "music_mean": tuple(np.round(heard.mean(0), 6).tolist()),
        "music_std": tuple(np.round(np.maximum(heard.std(0), 0.05), 6).tolist()),
    }


@dataclass(frozen=True)
class WindowSets:
    """Windows of a run: all that are trained on, in order, those that are validated on, and those danced to."""

    training: Windows
    validation: Windows | None
    dances: HeldOutDances | None


def cut_windows(
    recipe: GeneratorRecipe,
    spec: GeneratorSpec,
    data: TrainingData,
    options: WindowOptions | None = None,
) -> WindowSets:
    """Cut the windows of a run.

    Args:
        options: what is hidden from the network in training, but for the recipe's masks; None: the defaults.

    Raises:
        InvalidInput: the recipe's validation has no such sampler, or more steps than the generator is trained on.
    """
    train, texts = recipe.train, data.texts
    cut = partial(Windows, music_dim=recipe.music_dim, window=recipe.window, rhythm_channels=rhythm_channels(spec))
    options = replace(options or WindowOptions(), masks=recipe.data.masks)
    training = cut(data.training, texts, num_windows(train), train.seed, options)
    validation = dances = None
    if data.held_out:
        validation = cut(data.held_out, texts, VALIDATION_WINDOWS, train.seed + 1)
    if data.held_out and train.validation_dances:
        length = max(VALIDATION_WINDOWS, train.validation_dances)
        dances = HeldOutDances.of(
            spec,
            cut(data.held_out, texts, length, train.seed + 2, CONDITIONS),
            length,
            train.validation_dances,
            Preset(train.validation_sampler, train.validation_num_steps),
            train.validation_guidance_scale,
        )
    return WindowSets(training, validation, dances)


def rhythm_channels(spec: GeneratorSpec) -> int:
    """Rhythm channels that the denoiser takes; all where it takes no rhythm."""
    shape = spec.graph(DENOISER).input_shapes.get("rhythm")
    return RHYTHM_CHANNELS if shape is None else shape[-1]
