"""From a recipe and a data folder to a trained model."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from choreo.data.beat_pairing import paired_clips
from choreo.data.clip import Clip
from choreo.data.packs import is_validation, load_packs
from choreo.data.purge import without_leaks
from choreo.data.songs import HELD_OUT_SEED, BeatSong, loops, synthesized_songs
from choreo.data.synthetic_clips import synthetic_clips
from choreo.data.windows import Windows, caption_table, feature_statistics
from choreo.errors import InvalidInput
from choreo.models.generator import GeneratorConfig
from choreo.models.spec import ModelSpec
from choreo.text.minilm import MiniLmEncoder
from choreo.training.recipe import DataConfig, Recipe, TextMotionRecipe
from choreo.training.tmr import train_text_motion
from choreo.training.trainer import Trainer, num_windows

log = logging.getLogger(__name__)
VALIDATION_WINDOWS = 128


def train(
    recipe: Recipe | TextMotionRecipe,
    data: Path | None,
    folder: Path,
    until: int | None = None,
    with_priors: Callable[[Sequence[Clip]], list[Clip]] = list,
) -> Path:
    """Run or resume `recipe`; returns the folder of the averaged model.

    Args:
        recipe: what to train, and how.
        data: folder of the data pack; without one only the synthetic choreographer's dances are there to learn from.
        folder: of the run.
        until: step to stop after.
        with_priors: adds retrieved priors to the clips that the generator learns from.
    Raises:
        InvalidInput: no data pack there, or nothing usable in it.
    """
    seed = recipe.train.seed
    training, held_out = _split(data)
    if isinstance(recipe, TextMotionRecipe):
        return train_text_motion(recipe, training, held_out, MiniLmEncoder(), folder, until)
    if recipe.data.purge:
        training = without_leaks(training, held_out)
    training = with_priors(augmented(training, recipe.data, _loops(data, False), seed))
    held_out = with_priors(augmented(held_out, recipe.data, _loops(data, True), seed + HELD_OUT_SEED))
    if not training:
        raise InvalidInput("data", f"{data or 'the recipe'} holds no clip to train on")
    texts = caption_table([*training, *held_out], MiniLmEncoder())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.json").write_text(json.dumps(_summary(training, held_out), indent=1))
    trainer = Trainer(
        recipe,
        generator_config(recipe, training),
        Windows(training, texts, num_windows(recipe.train), seed),
        Windows(held_out, texts, VALIDATION_WINDOWS, seed + 1) if held_out else None,
        folder,
    )
    return trainer.run(until)


def _split(data: Path | None) -> tuple[list[Clip], list[Clip]]:
    clips = [] if data is None else load_packs(data)
    return [c for c in clips if not is_validation(c.group)], [c for c in clips if is_validation(c.group)]


def _loops(data: Path | None, held_out: bool) -> Iterable[BeatSong]:
    return () if data is None else loops(data / "audio", held_out)


def augmented(clips: Sequence[Clip], config: DataConfig, recorded: Iterable[BeatSong], seed: int) -> list[Clip]:
    """The clips, pairs of them with songs, and synthetic dances.

    Each side of a split is augmented on its own, with songs and a seed that the other never sees.
    """
    out = list(clips)
    if config.paired_per_piece and clips:
        songs = [*synthesized_songs(config.synthesized_songs, seed), *recorded]
        out += paired_clips(clips, songs, config.paired_per_piece, seed)
    if config.synthetic_dances:
        out += synthetic_clips(config.synthetic_dances, seed)
    return out


def generator_config(recipe: Recipe, clips: Sequence[Clip]) -> GeneratorConfig:
    """Architecture from the recipe, statistics from the training clips."""
    mean, std = feature_statistics(clips)
    music = [c.music for c in clips if c.music is not None]
    heard = np.concatenate(music) if music else np.zeros((1, recipe.conditioner.music_dim))
    spec = ModelSpec(
        name=recipe.name,
        window=recipe.conditioner.window,
        context_tokens=recipe.conditioner.context_tokens,
        context_dim=recipe.conditioner.context_dim,
        music_dim=recipe.conditioner.music_dim,
        text_dim=recipe.conditioner.text_dim,
        prediction=recipe.prediction,
        schedule=recipe.schedule,
        num_train_timesteps=recipe.num_train_timesteps,
        mean=tuple(np.round(mean, 6)),
        std=tuple(np.round(std, 6)),
    )
    return GeneratorConfig(
        architecture=recipe.architecture,
        conditioner=recipe.conditioner,
        denoiser=recipe.denoiser,
        spec=spec,
        music_mean=tuple(np.round(heard.mean(0), 6).tolist()),
        music_std=tuple(np.round(np.maximum(heard.std(0), 0.05), 6).tolist()),
    )


def _summary(training: Sequence[Clip], held_out: Sequence[Clip]) -> dict[str, object]:
    def of(clips: Sequence[Clip]) -> dict[str, object]:
        return {
            "clips": len(clips),
            "minutes": round(sum(c.num_frames for c in clips) / 1800, 1),
            "groups": sorted({c.group for c in clips}),
            "fit_residual_m": round(float(np.mean([c.residual for c in clips])), 4) if clips else None,
        }

    return {"training": of(training), "validation": of(held_out)}
