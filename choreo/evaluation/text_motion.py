"""The text-motion encoder (TMR) for evaluation: motions and sentences as vectors in one space."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from choreo.data.windows.captioned import motion_input
from choreo.data.windows.windows import pad
from choreo.errors import InvalidInput
from choreo.models.tmr import TextMotionModel, load_text_motion
from choreo.motion.clip import check_positions
from choreo.text.encoders import TextEncoder, text_encoder

_BATCH = 32


class TextMotionEncoder:
    """Latent means of motions and of sentences; deterministic, and each row independent of the others.

    The cosine similarity of a motion's and a sentence's row measures how well they fit. Distances between distributions
    of motions (FD_TMR) use the rows without normalisation.

    Args:
        model: the network, in evaluation mode.
        sentences: the sentence encoder that it was trained with.
    Raises:
        InvalidInput: another sentence encoder.
    """

    def __init__(self, model: TextMotionModel, sentences: TextEncoder) -> None:
        if sentences.name != model.spec.network.text_encoder:
            raise InvalidInput("text_encoder", f"must be {model.spec.network.text_encoder}, got {sentences.name}")
        self._model, self._sentences = model, sentences

    @classmethod
    def load(cls, folder: Path) -> "TextMotionEncoder":
        """Read a checkpoint folder.

        Raises:
            InvalidArtifact: a file is missing, damaged, or does not match the architecture.
            MissingDependency: the weights of the sentence encoder are not installed.
        """
        model = load_text_motion(folder)
        return cls(model, text_encoder(model.spec.network.text_encoder))

    def motions(self, positions: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
        """Latent means (N, L) of motions (T, 22, 3) in metres at 30 fps, T from 2 to the encoder's window.

        They do not depend on where a motion starts and which way it faces then, but on its height above the floor.

        Raises:
            InvalidInput: an array is not motion, or is too short or too long.
        """
        window = self._model.spec.network.window
        for p in positions:
            check_positions(p, "positions")
            if not 2 <= len(p) <= window:
                raise InvalidInput("positions", f"must have 2 to {window} frames, got {len(p)}: cut it into windows")
        return encode_features(self._model, [motion_input(p) for p in positions])

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Latent means (N, L) of sentences.

        Raises:
            MissingDependency: the weights of the sentence encoder are not installed.
        """
        return encode_sentences(self._model, self._sentences.encode(texts))


@torch.inference_mode()
def encode_features(model: TextMotionModel, features: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Latent means (N, L) of features (T, 66) of `motion_input`."""
    out = [np.zeros((0, model.spec.network.latent_dim), np.float32)]
    for first in range(0, len(features), _BATCH):
        rows, masks = zip(*(pad(f, model.spec.network.window) for f in features[first : first + _BATCH]), strict=True)
        mean, _ = model.encode_motion(_tensor(np.stack(rows), model), _tensor(np.stack(masks), model))
        out.append(mean.cpu().numpy())
    return np.concatenate(out)


@torch.inference_mode()
def encode_sentences(model: TextMotionModel, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Latent means (N, L) of sentence embeddings (N, E)."""
    mean, _ = model.encode_text(_tensor(embeddings, model))
    return np.asarray(mean.cpu().numpy())


def _tensor(rows: NDArray[np.float32], model: TextMotionModel) -> torch.Tensor:
    return torch.from_numpy(rows).to(model.mean.device)
