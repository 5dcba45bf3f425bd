"""From a recipe and a data folder to a trained model."""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from choreo.data.clip import Clip, in_representation
from choreo.data.licences import Licences, card, inventory, licensed
from choreo.data.splits.purge import without_leaks
from choreo.data.synthetic.beat_pairing import paired_clips
from choreo.data.synthetic.clips import synthetic_clips
from choreo.data.synthetic.songs import HELD_OUT_SEED, BeatSong, loops, synthesized_songs, tracks
from choreo.data.windows.windows import caption_table
from choreo.errors import InvalidInput
from choreo.files import atomic_write
from choreo.generators.base import Stage
from choreo.generators.registry import generator_class
from choreo.motion.representation import representation
from choreo.motion.upright import AUTO
from choreo.music.encoders import DSP35, MusicEncoder
from choreo.music.feature_cache import training_encoder
from choreo.text.encoders import TextEncoder, text_encoder
from choreo.training.couples import couple_splits, write_couples_summary
from choreo.training.loop import MODEL, TrainingRun
from choreo.training.options import DataConfig
from choreo.training.poses import train_poses
from choreo.training.recipe import GeneratorRecipe, PoseRecipe, Recipe, TextMotionRecipe, check_widths
from choreo.training.resuming import last_step
from choreo.training.splits import Splits, check_clips, read_splits
from choreo.training.tmr import train_text_motion
from choreo.training.windowed import TrainingData

log = logging.getLogger(__name__)


def train(
    recipe: Recipe,
    data: Path | None,
    folder: Path,
    until: int | None = None,
    with_priors: Callable[[Sequence[Clip]], list[Clip]] = list,
    up: str = AUTO,
) -> Path:
    """Run or resume `recipe`; returns the folder of the averaged model.

    Args:
        recipe: what to train, and how.
        data: folder of a data set (`choreo.data.datasets`), whose splits `train` and `val` are used; without one only
            the synthetic choreographer's dances are there to learn from.
        folder: of the run.
        until: step to stop after.
        with_priors: adds retrieved priors to the clips that the generator learns from.
        up: the axis that points up in the data, see `choreo.motion.upright.find_up`.
    Raises:
        InvalidInput: no data set there, nothing usable on one of its splits, or clips or encoders whose vectors the
            model cannot take.
        InvalidArtifact: the folder holds a run of another model, or on other data.
        MissingDependency: an encoder that the recipe names is not on this machine.
        NotSaved: the last save failed.
    """
    check_widths(recipe)
    if isinstance(recipe, PoseRecipe):
        splits = Splits([], []) if data is None else read_splits(data, up=up)
        splits = _licensed(splits, recipe.licences)
        check_clips(splits.training)
        check_clips(splits.held_out)
        _write_summary(folder, splits)
        return train_poses(recipe, splits.training, splits.held_out, folder, until)
    if isinstance(recipe, GeneratorRecipe) and (family := generator_class(recipe.architecture)).learns_couples:
        couples = couple_splits(data, recipe.data.licences, recipe.train.seed)
        return train_stages(
            family.stages(recipe, couples), folder, until, lambda: write_couples_summary(folder, couples)
        )
    sentences = text_encoder(recipe.text_encoder)
    if isinstance(recipe, TextMotionRecipe):
        splits = Splits([], []) if data is None else read_splits(data, up=up)
        splits = _licensed(splits, recipe.licences)
        if recipe.purge:
            splits = replace(splits, training=_purged(splits.training, splits.held_out, "purge"))
        check_clips(splits.training)
        check_clips(splits.held_out)
        _write_summary(folder, splits)
        return train_text_motion(recipe, splits.training, splits.held_out, sentences, folder, until)
    songs = training_encoder(recipe.music_encoder, recipe.data.beat_tracker)
    splits = Splits([], []) if data is None else read_splits(data, recipe.data.most_recordings, songs, up)
    splits = _prepared(splits, recipe, data, songs, with_priors)
    texts = _embeddings([*splits.training, *splits.held_out], sentences)
    stages = generator_class(recipe.architecture).stages(recipe, TrainingData(splits.training, splits.held_out, texts))
    return train_stages(stages, folder, until, lambda: _write_summary(folder, splits))


def train_stages(stages: Sequence[Stage], folder: Path, until: int | None, opened: Callable[[], None]) -> Path:
    """Train what a run consists of, one stage after the other; returns the folder of the averaged model.

    Args:
        stages: of the run; those that were trained already are passed over.
        folder: of the run.
        until: step to stop after; steps of all stages count on.
        opened: called where a run has been found to fit its folder.

    Raises:
        InvalidInput: `until` lies before the step that the run is at.
        InvalidArtifact: the folder holds another run.
    """
    total, before = sum(stage.steps for stage in stages), 0
    for stage in stages:
        run = TrainingRun(stage.task(folder), folder / stage.folder)
        opened()
        stop = last_step(until, before + run.step, total) - before
        model = run.folder / MODEL
        if run.step < stage.steps or stage is stages[-1]:
            model = run.run(None if until is None else min(stop, stage.steps))
        if stop <= stage.steps:
            break
        before += stage.steps
    return model


def _prepared(
    splits: Splits,
    recipe: GeneratorRecipe,
    data: Path | None,
    encoder: MusicEncoder,
    with_priors: Callable[[Sequence[Clip]], list[Clip]],
) -> Splits:
    """Both splits as the recipe wants them: purged, augmented, with priors, and checked."""
    splits = _licensed(splits, recipe.data.licences)
    seed, training, held_out = recipe.train.seed, splits.training, splits.held_out
    if recipe.data.purge:
        training = _purged(training, held_out, "data.purge")
    songs_of = partial(_recorded, data, encoder)
    training = with_priors(augmented(training, recipe.data, songs_of(False), seed, encoder))
    held_out = with_priors(augmented(held_out, recipe.data, songs_of(True), seed + HELD_OUT_SEED, encoder))
    motion = representation(recipe.representation)
    training, held_out = ([in_representation(clip, motion) for clip in clips] for clips in (training, held_out))
    if not training:
        raise InvalidInput("data", f"{data or 'the recipe'} holds no clip to train on")
    check_clips(training, recipe.music_dim)
    check_clips(held_out, recipe.music_dim)
    return replace(splits, training=training, held_out=held_out)


def _licensed(splits: Splits, licences: Licences) -> Splits:
    """Both splits without what the run may not learn from; what is left out is logged."""
    training, held_out = licensed(splits.training, licences), licensed(splits.held_out, licences)
    if splits.training and not training:
        raise InvalidInput(
            "data.licences",
            "leaves nothing to train on: no recording's terms are known to allow weights that are shipped; train with "
            "a recipe that has `licences: all`",
        )
    left_out = [clip for clip in (*splits.training, *splits.held_out) if licences is not Licences.ALL]
    for row in inventory(left_out):
        if not row["cleared"]:
            log.info("left out: %s (%g min, %d captions)", row["origin"], row["minutes"], row["captions"])
    return replace(splits, training=training, held_out=held_out)


def _purged(training: Sequence[Clip], held_out: Sequence[Clip], field: str) -> list[Clip]:
    kept = without_leaks(training, held_out)
    if training and not kept:
        raise InvalidInput(
            field, "leaves nothing to train on: held-out recordings repeat all of it; turn it off, or add recordings"
        )
    return kept


def _embeddings(clips: Sequence[Clip], encoder: TextEncoder) -> dict[str, NDArray[np.float32]]:
    """Embeddings of every sentence about the clips; of the empty one where they have none."""
    if any(clip.captions for clip in clips):
        return caption_table(clips, encoder)
    return {"": encoder.encode([""])[0]}


def _recorded(data: Path | None, encoder: MusicEncoder, held_out: bool) -> Iterable[BeatSong]:
    if data is None:
        return ()
    folder = data / "audio"
    return chain(loops(folder, held_out, encoder=encoder), tracks(folder, held_out, encoder=encoder))


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


def _write_summary(folder: Path, splits: Splits) -> None:
    """Put what a run learns from into its `data.json`, and the terms of it into its `data_card.md`."""

    def of(clips: Sequence[Clip]) -> dict[str, object]:
        return {
            "clips": len(clips),
            "minutes": round(sum(c.num_frames for c in clips) / 1800, 1),
            "groups": sorted({c.group for c in clips}),
            "fit_residual_m": round(float(np.mean([c.residual for c in clips])), 4) if clips else None,
            "sources": inventory(clips),
        }

    document = {
        "data_set": splits.origin,
        "training": of(splits.training),
        "validation": of(splits.held_out),
        "skipped": [asdict(skipped) for skipped in splits.skipped],
        "notes": [asdict(note) for note in splits.notes],
    }
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / "data.json", (json.dumps(document, indent=1) + "\n").encode())
    atomic_write(folder / "data_card.md", card(inventory(splits.training)).encode())
