"""Priors for training: what retrieval would propose for each clip, from phrases of other dances."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track

from choreo.data.clip import Clip, Track
from choreo.data.layouts.packs import group_of, is_validation
from choreo.data.licences import Licences, is_cleared
from choreo.errors import InvalidInput
from choreo.motion.kinematics import heading
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS
from choreo.music.beats import ONSET_CHANNEL, beats_of
from choreo.music.features import DSP_DIM, ONSET
from choreo.text.encoders import TextEncoder, text_encoder
from retrieval.library.embedding import Music, Query
from retrieval.library.library import Hit, PhraseLibrary
from retrieval.library.phrases import beat_strength
from retrieval.library.song_summary import song_summary
from retrieval.prior.prior import PRIOR_PHRASES, build_prior
from retrieval.search.finder import PhraseFinder, PhraseRequest

POOL: Final = 24
"""Phrases that are asked for; those of the clip's own dance and of held-out ones drop out."""
PER_CLIP: Final = 2


def from_library(
    folder: Path, encoder_name: str, licences: Licences = Licences.ALL
) -> Callable[[Sequence[Clip]], list[Clip]]:
    """A function that adds priors to clips from the library in a folder.

    Args:
        folder: of the library.
        encoder_name: text encoder of the model that is trained; the library's must be the same, as in serving.
        licences: of what may be learned from.

    Raises:
        InvalidArtifact: no library there, or one that was built with another text encoder.
        InvalidInput: it has phrases that may not be learned from.
    """
    encoder = text_encoder(encoder_name)
    library = PhraseLibrary.open(folder, (encoder.name, encoder.dim))
    forbidden = [tag for tag in library.manifest.licences if not is_cleared(tag)]
    if licences is Licences.CLEARED and forbidden:
        raise InvalidInput(
            "phrases",
            f"{folder} has phrases of the terms {', '.join(tag or 'none stated' for tag in forbidden)}, which are not "
            "cleared for weights that are shipped; build a library with `choreo phrases build DATA --cleared`",
        )
    finder = PhraseFinder(library)
    return lambda clips: with_retrieved_priors(clips, finder, encoder)


def with_retrieved_priors(
    clips: Sequence[Clip], finder: PhraseFinder, encoder: TextEncoder, per_clip: int = PER_CLIP, seed: int = 0
) -> list[Clip]:
    """The clips with `per_clip` priors each, made as the server makes them from a caption and the clip's music.

    Args:
        clips: of either side of the split: phrases of held-out dances are used for neither.
        finder: over a library whose phrases are named after the recordings they are from.
        encoder: of captions.
        per_clip: priors for each clip; the next ones are made of the phrases that the first left over.
        seed: of the choice of captions.
    """
    rng = np.random.default_rng(seed)
    out = []
    for clip in track(clips, "priors", transient=True, console=Console(stderr=True)):
        hits = finder.find([_request(clip, encoder, rng)])[0]
        fitting = [h for h in hits if (group := group_of(h.phrase.source)) != clip.group and not is_validation(group)]
        chosen = [fitting[i : i + PRIOR_PHRASES] for i in range(0, per_clip * PRIOR_PHRASES, PRIOR_PHRASES)]
        out.append(replace(clip, priors=tuple(_track(finder, clip, some) for some in chosen if some)))
    return out


def _request(clip: Clip, encoder: TextEncoder, rng: np.random.Generator) -> PhraseRequest:
    text = str(rng.choice([c.text for c in clip.captions])) if clip.captions else ""
    vector = encoder.encode([text])[0] if text else None
    return PhraseRequest(Query(text=vector, music=_music(clip)), text, top_n=POOL)


def _music(clip: Clip) -> Music | None:
    if clip.music is None:
        return None
    beats = beats_of(clip.rhythm)
    tempo = 60 / float(np.median(np.diff(beats))) if len(beats) > 1 else 0.0
    if clip.music.shape[1] != DSP_DIM:  # as in serving: summaries are of the 35-d features
        return Music(tempo, beat_strength(clip.rhythm[:, ONSET_CHANNEL], beats))
    return Music(tempo, beat_strength(clip.music[:, ONSET], beats), summary=song_summary(clip.music, beats))


def _track(finder: PhraseFinder, clip: Clip, hits: Sequence[Hit]) -> Track:
    beats = beats_of(clip.rhythm) if clip.music is not None else np.zeros(0)
    built = build_prior(finder.library, hits, clip.num_frames, beats, FPS)
    facing = np.unwrap(heading(decode(built.features)))
    return Track(built.features, facing.astype(np.float32))
