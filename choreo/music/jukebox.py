"""Jukebox features (Dhariwal et al. 2020): activations inside the top prior, 4800-d at 30 fps.

Castellon et al. 2021 and EDGE (Tseng et al. 2023) read layer 66 of the 5b prior. Public Hugging Face weights exist
only for its fine-tuning with lyrics, whose extra cross-attention layers are not counted here; the features are of the
same kind and shape, not the same numbers. Features from elsewhere come in through `precomputed`.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.music.audio import FRAME_RATE, Audio
from choreo.music.encoders import JUKEBOX_DIM, MusicFeatures, precomputed

if TYPE_CHECKING:
    from torch import Tensor

SOURCE = "openai/jukebox-5b-lyrics"
LAYER = 66
SAMPLE_RATE = 44_100
HINT = (
    "Jukebox features need transformers==4.57.* (version 5 dropped the model), so an environment of their own, for "
    f"example a Ray runtime_env, with the weights of {SOURCE} in its Hugging Face cache (hf download {SOURCE}) and "
    "about 13 GB of GPU memory; or pass precomputed features"
)

_SAMPLES_PER_FRAME = SAMPLE_RATE // FRAME_RATE
_MIN_SONG_SECONDS = 62
"""Shortest total length that the prior's timing signal was trained for, with a margin."""


@dataclass(frozen=True)
class Listener:
    """A loaded prior as a function of one window of audio.

    Attributes:
        samples: window length at 44.1 kHz.
        listen: audio float32 (samples,) to activations float32 (frames of the window, 4800).
    """

    samples: int
    listen: Callable[[NDArray[np.float32]], NDArray[np.float32]]


class JukeboxEncoder:
    """4800-d features; beats and onsets are those of the 35-d features.

    Args:
        source: directory of the weights or their name in the local Hugging Face cache; nothing is downloaded.
        device: torch device; by default the GPU if there is one.
    """

    name = "jukebox"
    dim = JUKEBOX_DIM
    sample_rate = SAMPLE_RATE

    def __init__(self, source: str | Path = SOURCE, device: str | None = None) -> None:
        self._source = source
        self._device = device
        self._lock = threading.Lock()
        self._listener: Listener | None = None

    def encode(self, audio: Audio) -> MusicFeatures:
        """Features of the whole song; twice as many windows as the song is long keep half a window of context.

        Raises:
            MissingDependency: no transformers with Jukebox in it, or no weights on this machine.
        """
        # One song at a time: the activations of a window fill most of what the weights leave of the GPU.
        with self._lock:
            if self._listener is None:
                self._listener = load_listener(self._source, self._device)
            features = listen_to_song(self._listener, audio)
        return precomputed(features, "audio", self.dim, audio)


def listen_to_song(listener: Listener, audio: Audio) -> NDArray[np.float32]:
    """Features float32 (audio.num_frames, D) from half-overlapping windows.

    Every frame but the song's first has at least half a window of past, because activations early in a window know
    little of the music. The song is scaled to peak 1, as the reference extractor does.
    """
    num_frames = audio.num_frames
    samples = audio.at(SAMPLE_RATE).samples
    samples = samples / max(float(np.abs(samples).max(initial=0)), 1e-9)
    window = listener.samples // _SAMPLES_PER_FRAME
    pieces: list[NDArray[np.float32]] = []
    done, start = 0, 0
    while done < num_frames:
        chunk = samples[start * _SAMPLES_PER_FRAME :][: listener.samples]
        heard = listener.listen(np.pad(chunk, (0, listener.samples - len(chunk))))
        pieces.append(heard[done - start : window])
        done = start + window
        start = done - window // 2
    return np.concatenate(pieces)[:num_frames]


def frame_average(num_tokens: int, num_frames: int, tokens_per_frame: float) -> NDArray[np.float32]:
    """Weights (num_frames, num_tokens) that average tokens over each frame's time; rows sum to 1."""
    edges = np.arange(num_frames + 1)[:, None] * tokens_per_frame
    # Overlap of every token's unit interval with everything before an edge.
    before = np.clip(edges - np.arange(num_tokens), 0, 1)
    overlap = np.diff(before, axis=0)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def self_attention_layer(attention: list[str], count: int) -> int:
    """Index of the count-th layer (from 1) that is not cross-attention.

    Raises:
        InvalidArtifact: there are fewer.
    """
    own = [index for index, kind in enumerate(attention) if kind != "cross_attention"]
    if len(own) < count:
        raise InvalidArtifact(f"this Jukebox prior has {len(own)} layers, layer {count} is wanted")
    return own[count - 1]


def load_listener(source: str | Path, device: str | None, layer: int = LAYER, dim: int = JUKEBOX_DIM) -> Listener:
    """Load the VQ-VAE and the top prior alone; the upsampling priors are left on disk.

    Raises:
        MissingDependency: see `HINT`.
        InvalidArtifact: the weights are of another kind.
    """
    try:
        import torch
        from transformers.models.deprecated.jukebox import JukeboxConfig, JukeboxModel
    except ImportError as error:
        raise MissingDependency(HINT) from error
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    half = device.startswith("cuda")
    try:
        config = JukeboxConfig.from_pretrained(source, local_files_only=True)
        config.nb_priors = 1
        model = JukeboxModel.from_pretrained(
            source, config=config, local_files_only=True, dtype=torch.float16 if half else torch.float32
        )
    except (OSError, ValueError) as error:
        raise MissingDependency(f"{HINT} ({error})") from error
    model = model.eval().requires_grad_(False).to(device)
    model.vqvae.float()  # its encoder takes float32 audio
    return listener_of(model, layer, dim)


def listener_of(model: Any, layer: int, dim: int) -> Listener:
    """The listening function of a loaded `JukeboxModel`."""
    import torch

    prior = model.priors[0]
    width = prior.prior.width
    if prior.is_encoder_decoder or width != dim:
        raise InvalidArtifact(f"must be the 5b prior with activations of width {dim}, got width {width}")
    blocks = prior.prior.transformer._attn_mods
    block = blocks[self_attention_layer([b.attn_func for b in blocks], layer)]
    num_samples = int(prior.n_ctx * prior.raw_to_tokens)
    average = torch.from_numpy(
        frame_average(prior.n_ctx, num_samples // _SAMPLES_PER_FRAME, _SAMPLES_PER_FRAME / float(prior.raw_to_tokens))
    )

    @torch.inference_mode()
    def listen(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        device = next(prior.parameters()).device
        sound = torch.from_numpy(np.ascontiguousarray(samples, np.float32)).to(device)
        # The VQ-VAE counts its levels the other way round: its last one is the top prior's.
        tokens = model.vqvae.encode(sound[None, :, None])[-1]
        activations = _activations(prior, block, tokens)
        return (average.to(device) @ activations[0].float()).cpu().numpy()

    return Listener(num_samples, listen)


class _HeardEnoughError(Exception):
    """Ends a forward pass behind the layer that is read."""


def _activations(prior: Any, block: Any, tokens: "Tensor") -> "Tensor":
    """Output (1, n_ctx, width) of `block` for tokens (1, n_ctx), with unknown artist and genre and no lyrics."""
    import torch

    heard: list[Tensor] = []

    def stop(module: Any, inputs: Any, output: "Tensor") -> None:
        heard.append(output)
        raise _HeardEnoughError

    embedding = prior.metadata_embedding
    total = _MIN_SONG_SECONDS * SAMPLE_RATE
    # Total length, offset, window length, artist 0, genre 0 and empty genre slots; get_metadata appends the lyrics.
    labels = torch.tensor([[total, 0, 0, 0, 0, *[-1] * (embedding.max_nb_genres - 1)]], device=tokens.device)
    metadata = prior.get_metadata(labels, 0, total, 0)
    timing, start, lyrics = prior.get_cond(None, metadata)
    handle = block.register_forward_hook(stop)
    try:
        prior.prior(tokens, timing, start, prior.get_encoder_states(lyrics))
    except _HeardEnoughError:
        pass
    finally:
        handle.remove()
    return heard[0]
