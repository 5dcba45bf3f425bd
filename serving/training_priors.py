"""Priors for training: what retrieval would propose for each clip, from phrases of other dances."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from choreo.data.clip import Clip, Track
from choreo.data.packs import group_of
from choreo.motion.kinematics import heading
from choreo.motion.representation import decode
from choreo.motion.skeleton import FPS
from choreo.music.beats import beats_of
from choreo.text.encoders import TextEncoder
from retrieval.embedding import Music, Query
from retrieval.finder import PhraseFinder, PhraseRequest
from retrieval.library import Hit
from retrieval.phrases import beat_strength
from retrieval.prior import build_prior
from retrieval.song_summary import song_summary
from serving.retriever import CANDIDATES

POOL: Final = 24
"""Phrases that are asked for; those of the clip's own dance and of the other side of the split drop out."""


def with_retrieved_priors(
    clips: Sequence[Clip],
    finder: PhraseFinder,
    encoder: TextEncoder,
    usable: Callable[[str], bool],
    per_clip: int,
    seed: int = 0,
    progress: Callable[[str], None] = lambda key: None,
) -> list[Clip]:
    """The clips with `per_clip` priors each, made as the server makes them from a caption and the clip's music.

    Args:
        clips: of one side of a split.
        finder: over a library whose phrases are named after the recordings they are from.
        encoder: of captions.
        usable: whether phrases of a group (`choreo.data.packs.group_of`) may be used for this side.
        per_clip: priors for each clip; the next ones are made of the phrases that the first left over.
        seed: of the choice of captions.
    """
    rng = np.random.default_rng(seed)
    out = []
    for clip in clips:
        hits = finder.find([_request(clip, encoder, rng)])[0]
        fitting = [h for h in hits if (group := group_of(h.phrase.source)) != clip.group and usable(group)]
        chosen = [fitting[i : i + CANDIDATES] for i in range(0, per_clip * CANDIDATES, CANDIDATES)]
        out.append(replace(clip, priors=tuple(_track(finder, clip, some) for some in chosen if some)))
        progress(clip.key)
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
    return Music(tempo, beat_strength(clip.music[:, 0], beats), summary=song_summary(clip.music, beats))


def _track(finder: PhraseFinder, clip: Clip, hits: Sequence[Hit]) -> Track:
    beats = beats_of(clip.rhythm) if clip.music is not None else np.zeros(0)
    built = build_prior(finder.library, hits, clip.num_frames, beats, FPS)
    facing = np.unwrap(heading(decode(built.features)))
    return Track(built.features, facing.astype(np.float32))
