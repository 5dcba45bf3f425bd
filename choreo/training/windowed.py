"""What generators over windows are trained on, and how the windows are cut."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.data.clip import Clip
from choreo.data.windows.windows import WindowOptions, Windows
from choreo.diffusion.presets import Preset
from choreo.generators.spec import GeneratorSpec
from choreo.generators.windowed import DENOISER
from choreo.music.beats import RHYTHM_CHANNELS
from choreo.training.held_out_dances import CONDITIONS, HeldOutDances
from choreo.training.loop import num_windows
from choreo.training.recipe import GeneratorRecipe

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
