"""A text-motion encoder of a few thousand parameters, with clips and sentences for it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from choreo.data.clip import Caption, Clip, motion_features
from choreo.models.tmr import TextMotionConfig, TextMotionModel, TextMotionSpec
from choreo.motion.kinematics import forward_kinematics

NETWORK = TextMotionConfig(
    dim=32, num_heads=2, feedforward=64, motion_layers=1, text_layers=1, decoder_layers=1, latent_dim=16, text_dim=12,
    dropout=0.0,
)  # fmt: skip
SPEC = TextMotionSpec(name="tiny", network=NETWORK, mean=(0.0,) * 66, std=(0.5,) * 66)


class FakeSentenceEncoder:
    """A random unit vector for every different sentence."""

    name = "minilm"
    dim = NETWORK.text_dim

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [np.random.default_rng(list(text.encode())).normal(size=self.dim) for text in texts]
        vectors = np.array(rows, np.float32).reshape(len(texts), self.dim)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def model(seed: int = 0) -> TextMotionModel:
    """With the weights of an initialisation, attention included: its zero start would hide what masks do."""
    torch.manual_seed(seed)
    out = TextMotionModel(SPEC)
    for parameter in out.parameters():
        if parameter.ndim == 2 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return out.eval()


def swinging(seed: int, frames: int = 240) -> NDArray[np.float64]:
    """Positions (T, 22, 3) of limbs that swing, each seed in its own way."""
    rng = np.random.default_rng(seed)
    swing = np.sin(np.arange(frames)[:, None, None] / rng.uniform(4, 12)) * rng.normal(0, 0.3, (22, 3))
    local = Rotation.from_rotvec(swing.reshape(-1, 3)).as_matrix().reshape(frames, 22, 3, 3)
    root = np.arange(frames)[:, None] * rng.uniform(-0.01, 0.01, 3)
    root[:, 1] = 0.95
    return forward_kinematics(root, local)


def clip(seed: int, text: str, frames: int = 240) -> Clip:
    """`swinging` as a captioned clip of its own group."""
    features, heading = motion_features(swinging(seed, frames))
    rhythm = np.zeros((frames, 4), np.float32)
    captions = (Caption(text, 0, frames),)
    return Clip(f"c{seed}", f"c{seed}", "f", features, heading, None, rhythm, 0.0, "test", captions)
