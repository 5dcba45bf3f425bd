"""Inputs of networks that lie along the timeline of a request, in the networks' units."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.generators.base import Array, Conditioning, GenerationRequest
from choreo.generators.given_frames import GivenFrames, known_frames, led
from choreo.generators.spec import GeneratorSpec
from choreo.generators.text_segments import segment_of
from choreo.motion.representation import ROOT_VELOCITY_66, converted, representation
from choreo.postprocess.inertialization import eased_around

SEAM_FRAMES: Final = 4
"""Frames before and after a seam of a repeated prior that have none."""


def window_text(conditioning: Conditioning, start: int, spec: GeneratorSpec) -> Array | None:
    """The sentence (E,) that a window follows: of the segment that most of it lies in, or of the whole motion."""
    spans = [(segment.first, segment.stop) for segment in conditioning.segments]
    found = segment_of(start, spec.window, conditioning.num_frames, spans)
    return conditioning.text if found is None else conditioning.segments[found].text


def extended(values: Array, length: int) -> Array:
    """Rows (T, N) followed by zeros, or cut: (length, N)."""
    out = np.zeros((length, values.shape[1]), np.float32)
    out[: len(values)] = values[:length]
    return out


def normalized_prior(request: GenerationRequest, length: int, spec: GeneratorSpec) -> Array:
    """The prior of a request (length, C + 1), normalised and 0 where there is none; the last channel is its mask."""
    out = np.zeros((length, spec.channels + 1), np.float32)
    if request.prior is not None and request.prior_mask is not None:
        count = min(len(request.prior), length)
        mask = request.prior_mask[:count, None]
        prior: NDArray[np.floating] = request.prior[:count]
        if prior.shape[1] != spec.channels:  # libraries hold motion in the default representation
            prior = converted(prior, ROOT_VELOCITY_66, representation(spec.representation))
        out[:count, :-1] = spec.normalize(prior) * mask
        out[:count, -1:] = mask
    return out


def repeated_prior(prior: Array, repeats: NDArray[np.floating] | None) -> Array:
    """A prior (length, C + 1) with what it has at the places that frames repeat, which are (T,), T <= length.

    It is repeated in the world's frame, as noise is, so that both say the same. Where a span begins or ends poses do
    not follow each other: there nothing is known, and the network finds the way.
    """
    if repeats is None:
        return prior
    out, frames = prior.copy(), len(repeats)
    out[:frames] = prior[np.rint(repeats).astype(np.int64)]
    for seam in np.flatnonzero(np.abs(np.diff(repeats) - 1) > 0.5) + 1:
        out[max(seam - SEAM_FRAMES, 0) : seam + SEAM_FRAMES] = 0
    return out


def normalized_known(given: GivenFrames, length: int, spec: GeneratorSpec) -> tuple[Array, Array]:
    """Given frames in the network's units and their mask, both (length, C)."""
    if not given.in_world:
        return np.zeros((length, spec.channels), np.float32), np.zeros((length, spec.channels), np.float32)
    known, mask = known_frames(given, length, representation(spec.representation))
    return (spec.normalize(known) * mask).astype(np.float32), mask.astype(np.float32)


def with_given(x: NDArray[np.floating], known: Array, mask: Array, given: GivenFrames) -> NDArray[np.floating]:
    """Features (T, C) with those that are known as they are, where the mask is 1, and eased into their neighbours."""
    eased = eased_around(np.where(mask > 0, known, x), given.posed)
    return np.where(mask > 0, known, eased)


def arriving(x: NDArray[np.floating], known: Array, mask: Array, given: GivenFrames, spec: GeneratorSpec) -> Array:
    """Normalised features (T, C) whose root arrives where it is given; see `given_frames.led`."""
    moved = led(spec.denormalize(x), given, representation(spec.representation))
    return np.where(mask > 0, known, spec.normalize(moved)).astype(np.float32)
