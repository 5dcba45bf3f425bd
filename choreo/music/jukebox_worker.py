"""The top prior of Jukebox as a function of one window of audio; as a script, a process that computes it for others.

transformers removed Jukebox in version 5, so another interpreter with transformers 4.57 may have to run this file.
It is therefore self-contained: it imports NumPy, torch and transformers and nothing of this program.

As a script it takes one argument, a JSON object with the arguments of `load`, and answers on standard output:

1. once loaded, a line `{"samples": N, "frames": F}`;
2. for each N float32 on standard input, an empty JSON object on a line and F x `dim` float32;
3. instead of either, `{"error": message, "kind": "missing" | "wrong" | "failed"}`, after which it ends.

It ends as well when its standard input is closed, which happens however its parent ends.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE_RATE = 44_100
SAMPLES_PER_FRAME = SAMPLE_RATE // 30
"""Of a motion frame at 30 fps."""

_MIN_SONG_SECONDS = 62
"""Shortest total length that the prior's timing signal was trained for, with a margin."""


class WrongWeightsError(Exception):
    """The weights are those of another model."""


@dataclass(frozen=True)
class WindowModel:
    """A loaded prior.

    Attributes:
        samples: N, length of a window at 44.1 kHz.
        activations: audio float32 (N,) to activations float32 (F, dim), F = N // 1470 frames at 30 fps.
    """

    samples: int
    activations: Callable[[NDArray[np.float32]], NDArray[np.float32]]


def load(source: str, device: str | None, layer: int, dim: int) -> WindowModel:
    """Load the VQ-VAE and the top prior; the upsampling priors stay on disk.

    Args:
        source: folder of the weights, or their name in the local Hugging Face cache; nothing is downloaded.
        device: torch device; None: the GPU if there is one, in half precision, else the CPU.
        layer: which layer is read, counted from 1 without the cross-attention layers.
        dim: width that the prior must have.

    Raises:
        ImportError: this interpreter has no transformers with Jukebox.
        OSError, ValueError: no weights there.
        WrongWeightsError: weights of another kind.
    """
    import torch
    from transformers.models.deprecated.jukebox import JukeboxConfig, JukeboxModel

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    half = device.startswith("cuda")
    config = JukeboxConfig.from_pretrained(source, local_files_only=True)
    config.nb_priors = 1
    model = JukeboxModel.from_pretrained(
        source, config=config, local_files_only=True, dtype=torch.float16 if half else torch.float32
    )
    model = model.eval().requires_grad_(False).to(device)
    model.vqvae.float()  # its encoder takes float32 audio
    return window_model(model, layer, dim)


def window_model(model: Any, layer: int, dim: int) -> WindowModel:
    """A loaded `JukeboxModel` as a function of one window.

    Raises:
        WrongWeightsError: the prior has another width, fewer layers, or a separate lyrics encoder (the 1b prior).
    """
    import torch

    prior = model.priors[0]
    width = prior.prior.width
    if prior.is_encoder_decoder or width != dim:
        raise WrongWeightsError(f"must be the 5b prior with activations of width {dim}, got width {width}")
    blocks = prior.prior.transformer._attn_mods
    block = blocks[self_attention_layer([b.attn_func for b in blocks], layer)]
    num_samples = int(prior.n_ctx * prior.raw_to_tokens)
    average = torch.from_numpy(
        frame_average(prior.n_ctx, num_samples // SAMPLES_PER_FRAME, SAMPLES_PER_FRAME / float(prior.raw_to_tokens))
    )

    @torch.inference_mode()
    def activations(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        device = next(prior.parameters()).device
        sound = torch.from_numpy(np.ascontiguousarray(samples, np.float32)).to(device)
        # The VQ-VAE returns the finest level first; the last one is the top prior's.
        tokens = model.vqvae.encode(sound[None, :, None])[-1]
        return np.asarray((average.to(device) @ _block_output(prior, block, tokens)[0].float()).cpu().numpy())

    return WindowModel(num_samples, activations)


def frame_average(num_tokens: int, num_frames: int, tokens_per_frame: float) -> NDArray[np.float32]:
    """Weights (num_frames, num_tokens) that average the tokens over the time of each frame; rows sum to 1."""
    edges = np.arange(num_frames + 1)[:, None] * tokens_per_frame
    # Share of each token's unit interval that lies before a frame edge.
    before = np.clip(edges - np.arange(num_tokens), 0, 1)
    overlap = np.diff(before, axis=0)
    return (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)


def self_attention_layer(attention: list[str], count: int) -> int:
    """Index of the count-th layer, from 1, that is not cross-attention.

    Raises:
        WrongWeightsError: there are fewer.
    """
    own = [index for index, kind in enumerate(attention) if kind != "cross_attention"]
    if len(own) < count:
        raise WrongWeightsError(f"this Jukebox prior has {len(own)} layers, layer {count} is wanted")
    return own[count - 1]


class _LayerReachedError(Exception):
    """Ends a forward pass after the layer that is read."""


def _block_output(prior: Any, block: Any, tokens: "Tensor") -> "Tensor":
    """Output (1, n_ctx, width) of `block` for tokens (1, n_ctx), with unknown artist and genre and no lyrics."""
    import torch

    outputs: list[Tensor] = []

    def stop(module: Any, inputs: Any, output: "Tensor") -> None:
        outputs.append(output)
        raise _LayerReachedError

    embedding = prior.metadata_embedding
    total = _MIN_SONG_SECONDS * SAMPLE_RATE
    # Total length, offset, window length, artist 0, genre 0 and empty genre slots; get_metadata appends the lyrics.
    labels = torch.tensor([[total, 0, 0, 0, 0, *[-1] * (embedding.max_nb_genres - 1)]], device=tokens.device)
    metadata = prior.get_metadata(labels, 0, total, 0)
    timing, start, lyrics = prior.get_cond(None, metadata)
    handle = block.register_forward_hook(stop)
    try:
        prior.prior(tokens, timing, start, prior.get_encoder_states(lyrics))
    except _LayerReachedError:
        pass
    finally:
        handle.remove()
    return outputs[0]


def main(options: dict[str, Any]) -> None:
    """Load the prior and compute activations until standard input is closed."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    chunks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_input, args=(chunks,), daemon=True).start()
    try:
        model = load(**options)
    except WrongWeightsError as error:
        return _answer(out, {"error": str(error), "kind": "wrong"})
    except (ImportError, OSError, ValueError) as error:
        return _answer(out, {"error": str(error), "kind": "missing"})
    _answer(out, {"samples": model.samples, "frames": model.samples // SAMPLES_PER_FRAME})
    pending = bytearray()
    while True:
        while len(pending) < 4 * model.samples:
            pending += chunks.get()
        window = np.frombuffer(pending[: 4 * model.samples], np.float32)
        del pending[: 4 * model.samples]
        try:
            values = model.activations(window)
        except RuntimeError as error:  # of torch: out of memory, for example
            return _answer(out, {"error": str(error), "kind": "failed"})
        _answer(out, {}, values)


def _read_input(chunks: "queue.SimpleQueue[bytes]") -> None:
    """Pass standard input on, in a thread: the end of the parent must be noticed while the model is computing."""
    while chunk := os.read(0, 1 << 20):
        chunks.put(chunk)
    os._exit(0)


def _answer(out: Any, header: dict[str, Any], values: NDArray[np.float32] | None = None) -> None:
    out.write(json.dumps(header).encode() + b"\n")
    if values is not None:
        out.write(np.ascontiguousarray(values, np.float32).data)
    out.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
