"""From a recipe and a data folder to a trained model."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from choreo.data.clip import Clip
from choreo.data.splits.purge import without_leaks
from choreo.data.synthetic.beat_pairing import paired_clips
from choreo.data.synthetic.clips import synthetic_clips
from choreo.data.synthetic.songs import HELD_OUT_SEED, BeatSong, loops, synthesized_songs
from choreo.data.windows.windows import WindowOptions, Windows, caption_table, feature_statistics
from choreo.diffusion.presets import Preset
from choreo.errors import InvalidInput
from choreo.files import atomic_write
from choreo.generators.checkpoint import load_generator
from choreo.generators.config import Distilled, GeneratorConfig
from choreo.generators.network import GeneratorNetwork
from choreo.generators.unet.config import UNetGeneratorConfig
from choreo.generators.unet.graphs import unet_spec
from choreo.music.encoders import DSP35, MusicEncoder
from choreo.music.feature_cache import training_encoder
from choreo.text.encoders import TextEncoder, text_encoder
from choreo.training.generator import GeneratorTask
from choreo.training.held_out_dances import CONDITIONS, HeldOutDances
from choreo.training.loop import TrainingRun, num_windows
from choreo.training.recipe import DataConfig, Recipe, TextMotionRecipe, check_widths
from choreo.training.splits import Splits, check_clips, read_splits
from choreo.training.tmr import train_text_motion

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
        data: folder of a data set (`choreo.data.datasets`), whose sides `train` and `val` are used; without one only
            the synthetic choreographer's dances are there to learn from.
        folder: of the run.
        until: step to stop after.
        with_priors: adds retrieved priors to the clips that the generator learns from.
    Raises:
        InvalidInput: no data set there, nothing usable on one of its sides, or clips or encoders whose vectors the
            model cannot take.
        InvalidArtifact: the folder holds a run of another model, or on other data.
        MissingDependency: an encoder that the recipe names is not on this machine.
        NotSaved: the last save failed.
    """
    check_widths(recipe)
    sentences = text_encoder(recipe.text_encoder)
    if isinstance(recipe, TextMotionRecipe):
        sides = Splits([], []) if data is None else read_splits(data)
        if recipe.purge:
            sides = replace(sides, training=without_leaks(sides.training, sides.held_out))
        check_clips(sides.training)
        check_clips(sides.held_out)
        _write_summary(folder, sides)
        return train_text_motion(recipe, sides.training, sides.held_out, sentences, folder, until)
    songs = training_encoder(recipe.music_encoder)
    sides = Splits([], []) if data is None else read_splits(data, recipe.data.most_recordings, songs)
    sides = _prepared(sides, recipe, data, songs, with_priors)
    trainer = _trainer(recipe, sides, sentences, folder)
    _write_summary(folder, sides)
    return trainer.run(until)


def _prepared(
    sides: Splits,
    recipe: Recipe,
    data: Path | None,
    encoder: MusicEncoder,
    with_priors: Callable[[Sequence[Clip]], list[Clip]],
) -> Splits:
    """Both sides as the recipe wants them: purged, augmented, with priors, and checked."""
    seed, training, held_out = recipe.train.seed, sides.training, sides.held_out
    if recipe.data.purge:
        training = without_leaks(training, held_out)
    loops_of = partial(_loops, data, encoder)
    training = with_priors(augmented(training, recipe.data, loops_of(False), seed, encoder))
    held_out = with_priors(augmented(held_out, recipe.data, loops_of(True), seed + HELD_OUT_SEED, encoder))
    if not training:
        raise InvalidInput("data", f"{data or 'the recipe'} holds no clip to train on")
    check_clips(training, recipe.conditioner.music_dim)
    check_clips(held_out, recipe.conditioner.music_dim)
    return replace(sides, training=training, held_out=held_out)


def _trainer(recipe: Recipe, sides: Splits, encoder: TextEncoder, folder: Path) -> TrainingRun:
    options, music_dim = recipe.train, recipe.conditioner.music_dim
    texts = _embeddings([*sides.training, *sides.held_out], encoder)
    teacher = None if recipe.distillation is None else load_generator(recipe.distillation.teacher)
    config = generator_config(recipe, sides.training) if teacher is None else student_config(recipe, teacher)
    validation = dances = None
    if sides.held_out:
        validation = Windows(sides.held_out, texts, VALIDATION_WINDOWS, options.seed + 1, music_dim=music_dim)
    if sides.held_out and options.validation_dances:
        length = max(VALIDATION_WINDOWS, options.validation_dances)
        dances = HeldOutDances.of(
            config.spec,
            Windows(sides.held_out, texts, length, options.seed + 2, CONDITIONS, music_dim),
            length,
            options.validation_dances,
            Preset(options.validation_sampler, options.validation_num_steps),
            options.validation_guidance_scale,
        )
    # Nobody asks a student without conditions: guidance, which would, is within.
    seen = None if teacher is None else WindowOptions(drop_all=0.0)
    windows = Windows(sides.training, texts, num_windows(options), options.seed, seen, music_dim)
    return TrainingRun(GeneratorTask(recipe, config, windows, validation, dances, teacher), folder)


def _embeddings(clips: Sequence[Clip], encoder: TextEncoder) -> dict[str, NDArray[np.float32]]:
    """Embeddings of every sentence about the clips; of the empty one where they have none."""
    if any(clip.captions for clip in clips):
        return caption_table(clips, encoder)
    return {"": encoder.encode([""])[0]}


def _loops(data: Path | None, encoder: MusicEncoder, held_out: bool) -> Iterable[BeatSong]:
    return () if data is None else loops(data / "audio", held_out, encoder=encoder)


def augmented(
    clips: Sequence[Clip],
    config: DataConfig,
    recorded: Iterable[BeatSong],
    seed: int,
    encoder: MusicEncoder = DSP35,
) -> list[Clip]:
    """The clips, pairs of them with songs, and synthetic dances.

    Each side of a split is augmented on its own, with songs and a seed that the other never sees.
    """
    out = list(clips)
    if config.paired_per_piece and clips:
        songs = [*synthesized_songs(config.synthesized_songs, seed, encoder=encoder), *recorded]
        out += paired_clips(clips, songs, config.paired_per_piece, seed)
    if config.synthetic_dances:
        out += synthetic_clips(config.synthetic_dances, seed, encoder)
    return out


def generator_config(recipe: Recipe, clips: Sequence[Clip]) -> GeneratorConfig:
    """Architecture from the recipe, statistics from the training clips."""
    mean, std = feature_statistics(clips)
    music = [c.music for c in clips if c.music is not None]
    heard = np.concatenate(music) if music else np.zeros((1, recipe.conditioner.music_dim))
    spec = unet_spec(
        recipe.name,
        window=recipe.conditioner.window,
        context_tokens=recipe.conditioner.context_tokens,
        context_dim=recipe.conditioner.context_dim,
        music_encoder=recipe.music_encoder,
        music_dim=recipe.conditioner.music_dim,
        text_encoder=recipe.text_encoder,
        text_dim=recipe.conditioner.text_dim,
        prediction=recipe.prediction,
        schedule=recipe.schedule,
        num_train_timesteps=recipe.num_train_timesteps,
        mean=np.round(mean, 6).tolist(),
        std=np.round(std, 6).tolist(),
    )
    return UNetGeneratorConfig(
        conditioner=recipe.conditioner,
        denoiser=recipe.denoiser,
        spec=spec,
        music_mean=tuple(np.round(heard.mean(0), 6).tolist()),
        music_std=tuple(np.round(np.maximum(heard.std(0), 0.05), 6).tolist()),
    )


def student_config(recipe: Recipe, teacher: GeneratorNetwork) -> GeneratorConfig:
    """The teacher's, statistics and all, under the recipe's name and with what is distilled."""
    if recipe.distillation is None:
        raise ValueError("the recipe has no distillation")
    of = recipe.distillation
    distilled = Distilled(teacher=teacher.spec.name, guidance_scale=of.guidance_scale, guidance_low=of.guidance_low)
    spec = teacher.spec.model_copy(update={"name": recipe.name})
    # What the student is to agree with is computed without dropout.
    assert isinstance(teacher.config, UNetGeneratorConfig)
    denoiser = teacher.config.denoiser.model_copy(update={"dropout": 0.0})
    return teacher.config.model_copy(update={"spec": spec, "denoiser": denoiser, "distilled": distilled})


def _write_summary(folder: Path, sides: Splits) -> None:
    """Put what a run learns from into its `data.json`."""

    def of(clips: Sequence[Clip]) -> dict[str, object]:
        return {
            "clips": len(clips),
            "minutes": round(sum(c.num_frames for c in clips) / 1800, 1),
            "groups": sorted({c.group for c in clips}),
            "fit_residual_m": round(float(np.mean([c.residual for c in clips])), 4) if clips else None,
        }

    document = {
        "data_set": sides.origin,
        "training": of(sides.training),
        "validation": of(sides.held_out),
        "skipped": [asdict(skipped) for skipped in sides.skipped],
    }
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "data.json", (json.dumps(document, indent=1) + "\n").encode())
