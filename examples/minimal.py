"""The whole algorithm on one page: a song and a sentence become a dance, without servers.

    python examples/minimal.py --prompt "salsa dance" --seconds 6.5 --steps 50 --seed 3 --out out/minimal

Read it from top to bottom; `main` at the end calls the functions in the order in which they stand here. For the same
seed the result is that of `choreo generate --no-rag`: the servers run this algorithm, with the rows of many requests in
each call of the denoiser, other samplers next to DDIM, and a motion prior from retrieved phrases where this page has
zeros.

Letters in shapes: T frames of the motion, W frames of a window (196), N windows, C channels of a frame (70).
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from choreo.diffusion.noise import INITIAL, gaussian
from choreo.diffusion.parameters import DiffusionParameters
from choreo.generators.checkpoint import load_generator
from choreo.generators.network import GeneratorNetwork
from choreo.motion.formats.bvh import write_bvh
from choreo.motion.formats.npz import write_npz
from choreo.motion.kinematics import heading
from choreo.motion.rotations import yaw
from choreo.music.audio import decode_audio
from choreo.music.beats import beat_phase_channels
from choreo.music.encoders import music_encoder
from choreo.music.synth import synthesize_song, write_wav
from choreo.postprocess.finish import Finished, finish
from choreo.text.encoders import text_encoder

WEIGHTS: Final = Path(__file__).resolve().parent.parent / "weights" / "unet-small"
TEMPO: Final = 112.0
"""Beats per minute of the synthesised song."""
OVERLAP: Final = 64
"""Frames that neighbouring windows share."""
GUIDANCE_SCALE: Final = 2.5

Array = NDArray[np.float32]
Rows = dict[str, Array]
"""Inputs of a network by name; the first axis of every array is the row of the batch."""


# 1. Encode the song and the prompt.


@dataclass(frozen=True)
class Encoded:
    """What the dance is conditioned on.

    Attributes:
        music: (T, 35) signal-processing features, a row per frame of the motion (30 a second).
        rhythm: (T, 8) phase of the beat, onset strength, 1 where music plays; phase of the bar and nearness of a beat.
        text: (384,) embedding of the prompt.
    """

    music: Array
    rhythm: Array
    text: Array


def encode(generator: GeneratorNetwork, song: Path, prompt: str) -> Encoded:
    """Decode a song and encode it and the prompt with the encoders that the checkpoint was trained with."""
    encoder = music_encoder(generator.spec.music_encoder)
    heard = encoder.encode(decode_audio(song, sample_rate=encoder.sample_rate))
    every = beat_phase_channels(heard.beats, heard.onset, heard.num_frames, generator.spec.fps, heard.downbeats)
    rhythm = every[:, : generator.spec.graph("denoiser").input_shapes["rhythm"][-1]]
    (text,) = text_encoder(generator.spec.text_encoder).encode([prompt])
    return Encoded(heard.features, rhythm, text)


# 2. Cut the motion into overlapping windows, and condition each of them once.


def window_starts(num_frames: int, window: int) -> list[int]:
    """First frames of the windows; the last window may reach beyond the end of the motion."""
    return [0] if num_frames <= window else list(range(0, num_frames - OVERLAP, window - OVERLAP))


def windows_of(values: Array, starts: Sequence[int], window: int) -> Array:
    """Cut (T, D) into (N, W, D); frames beyond the end are zero."""
    padded = np.zeros((starts[-1] + window, values.shape[1]), np.float32)
    padded[: len(values)] = values
    return np.stack([padded[start : start + window] for start in starts])


def condition(generator: GeneratorNetwork, encoded: Encoded, starts: Sequence[int]) -> Rows:
    """Everything that the denoiser is told and that stays the same from step to step: 2 N rows.

    The first N rows are conditional, one per window. The other N are their unconditional counterparts for
    classifier-free guidance: they lack music, text, rhythm and prior, all at once.
    """
    spec, count = generator.spec, len(starts)
    present = np.ones((len(encoded.music), 1), np.float32)
    conditional: Rows = {
        "music": windows_of(encoded.music, starts, spec.window),
        "music_mask": windows_of(present, starts, spec.window)[..., 0],
        "text": np.tile(encoded.text, (count, 1)),
        "has_music": np.ones((count, 1), np.float32),
        "has_text": np.ones((count, 1), np.float32),
    }
    null = {name: np.zeros_like(values[:1]) for name, values in conditional.items()}
    null["music_mask"] += 1  # the contract of the graph: where there is no music, no frame of it is masked out
    inputs = {name: np.concatenate([conditional[name], null[name]]) for name in conditional}
    tokens = generator.evaluate("conditioner", inputs)

    of_row = [*range(count), *[count] * count]  # the one null row serves every window
    rhythm = windows_of(encoded.rhythm, starts, spec.window)
    frames = (2 * count, spec.window)
    return {
        "context": tokens["context"][of_row],
        "context_mask": tokens["context_mask"][of_row],
        "rhythm": np.concatenate([rhythm, np.zeros_like(rhythm)]),
        "prior": np.zeros((*frames, spec.channels + 1), np.float32),  # motion to begin from, and its mask: none here
        "known": np.zeros((*frames, spec.channels), np.float32),  # given frames and their mask: none either
        "known_mask": np.zeros((*frames, spec.channels), np.float32),
        "frame_mask": np.ones(frames, np.float32),
    }


# 3. Denoise: DDIM with classifier-free guidance.


def cosine_alpha_bar(num_timesteps: int) -> NDArray[np.float64]:
    """alpha_bar[t] for t = 0 .. T-1 (Nichol & Dhariwal 2021, eq. 17), then 1 for the noise-free end, t = -1.

    The forward process is x_t = sqrt(alpha_bar[t]) x0 + sqrt(1 - alpha_bar[t]) eps with eps ~ N(0, I).
    """
    u = np.arange(num_timesteps + 1) / num_timesteps
    f = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = np.minimum(1 - f[1:] / f[:-1], 0.999)
    return np.append(np.cumprod(1 - betas), 1.0)


def blend(windows: NDArray[np.floating], starts: Sequence[int]) -> NDArray[np.float64]:
    """(N, W, C) predictions to one (T, C): where two windows overlap, one fades out as the next one fades in."""
    count, window, channels = windows.shape
    rise = (np.arange(1, OVERLAP + 1) / (OVERLAP + 1))[:, None]
    total = np.zeros((starts[-1] + window, channels))
    for i, start in enumerate(starts):
        share = np.ones((window, 1))
        if i > 0:
            share[:OVERLAP] = rise
        if i < count - 1:
            share[-OVERLAP:] = rise[::-1]
        total[start : start + window] += share * windows[i]
    return total


def denoise(
    generator: GeneratorNetwork, constant: Rows, starts: Sequence[int], num_steps: int, seed: int, scale: float
) -> Array:
    """From noise to motion features, (T, C) in the units of `choreo.motion.representation`.

    All windows take every step together. Their predictions are blended into one timeline before it is updated, so
    they agree in their overlap at every step and a long motion has no seams.
    """
    spec, count = generator.spec, len(starts)
    of = DiffusionParameters.of(spec)
    if (of.prediction, of.schedule) != ("x0", "cosine"):
        raise SystemExit(f"this page is about x0 and the cosine schedule, not {of.prediction} and {of.schedule}")
    alpha_bar = cosine_alpha_bar(of.num_train_timesteps)
    timesteps = np.linspace(-1, of.num_train_timesteps - 1, num_steps + 1).astype(int)[::-1]

    # Noise is a function of (seed, frame, channel, step), so that the same seed gives the same motion in any batch.
    x = gaussian(seed, 0, starts[-1] + spec.window, spec.channels, INITIAL)
    for t, t_next in pairwise(timesteps):
        now = windows_of(x, starts, spec.window)
        rows = constant | {"x": np.concatenate([now, now]), "t": np.full((2 * count, 1), t, np.float32)}
        predicted = generator.evaluate("denoiser", rows)["x0"]

        # Classifier-free guidance (Ho & Salimans 2022): extrapolate from the unconditional prediction.
        conditional, unconditional = predicted[:count], predicted[count:]
        x0 = blend(unconditional + scale * (conditional - unconditional), starts)

        # DDIM with eta = 0 (Song et al. 2021, eq. 12): the noise that x0 implies, carried to the next noise level.
        eps = (x - np.sqrt(alpha_bar[t]) * x0) / np.sqrt(1 - alpha_bar[t])
        x = (np.sqrt(alpha_bar[t_next]) * x0 + np.sqrt(1 - alpha_bar[t_next]) * eps).astype(np.float32)
    return (x * np.array(spec.std) + np.array(spec.mean)).astype(np.float32)


# 4. Decode the features to joints, and make a body of them that stands on the floor.


def joints(features: Array, fps: float) -> NDArray[np.float64]:
    """Features (T, C) to positions of 22 joints (T, 22, 3), metres, y up.

    Channels: the root's velocity along x and z (m/s), its height (m), the 21 other joints relative to the root, and
    contacts.
    """
    values = features.astype(np.float64)
    root = np.zeros((len(values), 3))
    root[:, [0, 2]] = np.cumsum(values[:, :2], axis=0) / fps
    root[:, 1] = values[:, 2]
    others = root[:, None] + values[:, 3:66].reshape(len(values), 21, 3)
    return np.concatenate([root[:, None], others], axis=1)


def placed(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same motion, beginning above the origin and facing +z: the network's own first heading is arbitrary."""
    x, _, z = positions[0, 0]
    return (positions - (x, 0.0, z)) @ yaw(-float(heading(positions[:1])[0])).T


def contacts(features: Array) -> NDArray[np.float64]:
    """Features (T, 70) to how sure it is that ankles and toes, left and right of each, are planted: (T, 4), 0 to 1."""
    return np.clip(features[:, 66:].astype(np.float64), 0, 1)


def finished(features: Array, fps: float) -> Finished:
    """One rotation per joint on a body of fixed bone lengths, smoothed, on the floor, with planted feet held still.

    Everything that is written out is the forward kinematics of that body. The steps are in `choreo.postprocess`.
    """
    return finish(placed(joints(features, fps)), fps, contacts=contacts(features))


# 5. All of it.


def main(argv: Sequence[str] | None = None) -> None:
    """Make one dance and write the song (WAV) and the motion (BVH for animation programs, NPZ for NumPy)."""
    parser = argparse.ArgumentParser(description="A song and a sentence become a dance, without servers.")
    parser.add_argument("--prompt", default="a dancer performs a cha-cha, with turns", help="what to dance")
    parser.add_argument("--seconds", type=float, default=196 / 30, help="length of song and dance, 1 to 60")
    parser.add_argument("--steps", type=int, default=50, help="denoising steps, 1 to 1000")
    parser.add_argument("--seed", type=int, default=3, help="same seed, same dance")
    parser.add_argument("--out", type=Path, default=Path("out/minimal"), help="folder for the results")
    args = parser.parse_args(argv)
    for name, low, high in (("seconds", 1, 60), ("steps", 1, 1000), ("seed", 0, 2**63 - 1)):
        if not low <= getattr(args, name) <= high:
            parser.error(f"--{name} must be between {low} and {high}, got {getattr(args, name)}")

    args.out.mkdir(parents=True, exist_ok=True)
    samples, sample_rate, _ = synthesize_song(TEMPO, args.seconds)
    write_wav(args.out / "song.wav", samples, sample_rate)

    generator = load_generator(WEIGHTS)
    encoded = encode(generator, args.out / "song.wav", args.prompt)
    num_frames = len(encoded.music)
    starts = window_starts(num_frames, generator.spec.window)
    constant = condition(generator, encoded, starts)
    features = denoise(generator, constant, starts, args.steps, args.seed, GUIDANCE_SCALE)[:num_frames]
    done = finished(features, generator.spec.fps)

    motion = replace(done.motion, meta=done.motion.meta | {"seed": args.seed, "prompt": args.prompt})
    write_bvh(motion, args.out / "motion.bvh")
    write_npz(motion, args.out / "motion.npz")
    print(f"{motion.num_frames} frames in {args.out}: motion.bvh, motion.npz and the song they go with, song.wav")


if __name__ == "__main__":
    main()
