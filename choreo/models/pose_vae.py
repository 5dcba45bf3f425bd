"""Variational autoencoders of single poses: one convolves over the body graph, one of equal size does not.

Joint positions relative to the pelvis go in, one rotation per joint comes out, and forward kinematics on the canonical
skeleton makes positions of them: bones have their lengths by construction.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Final, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.errors import InvalidArtifact
from choreo.files import atomic_write
from choreo.models.posterior import Posterior
from choreo.motion.kinematics import LEVELS
from choreo.motion.skeleton import NUM_JOINTS, PARENTS, REST_OFFSETS

WEIGHTS: Final = "model.safetensors"
CONFIG: Final = "config.json"
PARTS: Final = ((0,), (3, 6, 9), (12, 15), (13, 16, 18, 20), (14, 17, 19, 21), (1, 4, 7, 10), (2, 5, 8, 11))
"""Joints of the pelvis, spine, head, left and right arm, left and right leg."""
SIX: Final = 6
LOG_VARIANCE: Final = (-12.0, 6.0)
"""Range of the posterior's log-variance."""


class PoseVaeConfig(BaseModel):
    """Architecture; the widths are those of the graph's layers, and decide the size of the MLP as well."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: Literal["graph", "mlp"] = "graph"
    widths: tuple[int, int, int] = (32, 64, 64)
    channels: int = Field(8, ge=1, le=256)
    """Latent numbers of each body part."""


class GraphConvolution(nn.Module):
    """y_j = W_self x_j + W_parent x_parent(j) + W_child mean of x over the children of j + b.

    A joint without parent or children has no such term.
    """

    parents: Tensor
    counts: Tensor

    def __init__(self, inputs: int, outputs: int, parents: tuple[int, ...] = PARENTS) -> None:
        """Layer on the tree where joint j hangs on `parents[j]`, -1 for a root."""
        super().__init__()
        self.own = nn.Linear(inputs, outputs)
        self.parent = nn.Linear(inputs, outputs, bias=False)
        self.child = nn.Linear(inputs, outputs, bias=False)
        above = torch.tensor(parents)
        counts = torch.bincount(above + 1, minlength=len(parents) + 1)[1:].clamp(min=1)
        # Roots get a row of zeros after the joints, and give to one that is dropped.
        self.register_buffer("parents", torch.where(above < 0, len(parents), above), persistent=False)
        self.register_buffer("counts", counts[:, None].float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, J, I) -> (B, J, O)."""
        padded = F.pad(x, (0, 0, 0, 1))
        below = torch.zeros_like(padded).index_add(1, self.parents, x)[:, :-1] / self.counts
        return self.own(x) + self.parent(padded[:, self.parents]) + self.child(below)


class PartLinear(nn.Module):
    """A linear layer of its own for each body part."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(len(PARTS), inputs, outputs) / inputs**0.5)
        self.bias = nn.Parameter(torch.zeros(len(PARTS), outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 7, I) -> (B, 7, O)."""
        return torch.einsum("bpi,pio->bpo", x, self.weight) + self.bias


class GraphEncoder(nn.Module):
    """Graph convolutions; each part is the sum of its joints, weighted by joint and channel."""

    part_of: Tensor

    def __init__(self, config: PoseVaeConfig) -> None:
        super().__init__()
        sizes = (3, *config.widths)
        self.layers = nn.ModuleList(GraphConvolution(a, b) for a, b in pairwise(sizes))
        self.pool = nn.Parameter(torch.randn(NUM_JOINTS, sizes[-1]) * 0.5)
        self.output = PartLinear(sizes[-1], 2 * config.channels)
        self.register_buffer("part_of", _part_of(), persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """(B, 22, 3) -> (B, 7, 2 D)."""
        x = positions
        for layer in self.layers:
            x = F.silu(layer(x))
        parts = x.new_zeros(len(x), len(PARTS), x.shape[2]).index_add(1, self.part_of, x * self.pool)
        return self.output(parts)


class GraphDecoder(nn.Module):
    """The mirror of the encoder: parts are handed to their joints, weighted by joint and channel."""

    part_of: Tensor

    def __init__(self, config: PoseVaeConfig) -> None:
        super().__init__()
        sizes = (*reversed(config.widths), SIX)
        self.input = PartLinear(config.channels, sizes[0])
        self.unpool = nn.Parameter(1 + torch.randn(NUM_JOINTS, sizes[0]) * 0.5)
        self.offset = nn.Parameter(torch.randn(NUM_JOINTS, sizes[0]) * 0.1)
        self.layers = nn.ModuleList(GraphConvolution(a, b) for a, b in pairwise(sizes))
        self.register_buffer("part_of", _part_of(), persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, 7, D) -> (B, 22, 6)."""
        x = self.input(latents)[:, self.part_of] * self.unpool + self.offset
        for layer in self.layers:
            x = layer(F.silu(x))
        return x


class PoseVae(nn.Module):
    """Encoder and decoder of poses."""

    def __init__(self, config: PoseVaeConfig) -> None:
        super().__init__()
        self.config = config
        if config.layers == "graph":
            self.encoder: nn.Module = GraphEncoder(config)
            self.decoder: nn.Module = GraphDecoder(config)
        else:
            self.encoder, self.decoder = _mlp(config, _hidden(config))

    def encode(self, positions: Tensor) -> Posterior:
        """Positions (B, 22, 3) relative to the pelvis, metres, facing +z -> posterior of latents (B, 7, D)."""
        mean, log_variance = self.encoder(positions).chunk(2, dim=2)
        return Posterior(mean, log_variance.clamp(*LOG_VARIANCE))

    def rotations(self, latents: Tensor) -> Tensor:
        """Latents (B, 7, D) -> local rotations (B, 22, 3, 3)."""
        # Zeros are the rest pose, near which all is smooth.
        return from_six(self.decoder(latents) + latents.new_tensor((1.0, 0, 0, 0, 1, 0)))

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (B, 7, D) -> positions (B, 22, 3) relative to the pelvis, metres."""
        return posed(self.rotations(latents))


def from_six(six: Tensor) -> Tensor:
    """Rotations (..., 3, 3) from (..., 6) by Gram-Schmidt (Zhou et al. 2019, eq. 15)."""
    x = F.normalize(six[..., :3], dim=-1)
    y = six[..., 3:]
    y = F.normalize(y - (x * y).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


def posed(local: Tensor) -> Tensor:
    """Positions (B, 22, 3) relative to the pelvis, metres, of local rotations (B, 22, 3, 3): forward kinematics."""
    offsets = torch.as_tensor(REST_OFFSETS.copy(), dtype=local.dtype, device=local.device)
    world, positions = {0: local[:, 0]}, {0: torch.zeros_like(local[:, 0, :, 0])}
    for level in LEVELS[1:]:
        for joint, parent in zip(level.joints, level.parents, strict=True):
            world[joint] = world[parent] @ local[:, joint]
            positions[joint] = positions[parent] + world[parent] @ offsets[joint]
    return torch.stack([positions[joint] for joint in range(NUM_JOINTS)], dim=1)


def num_parameters(model: nn.Module) -> int:
    """Trained numbers of a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def save_pose_vae(folder: Path, config: PoseVaeConfig, state: dict[str, Tensor]) -> None:
    """Write a checkpoint folder; each file appears whole or not at all.

    Raises:
        OSError: the disk is full, or the folder may not be written; the files in it are as they were.
    """
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / WEIGHTS, save({k: v.detach().float().contiguous().cpu() for k, v in state.items()}))
    atomic_write(folder / CONFIG, (json.dumps(config.model_dump(mode="json"), indent=1) + "\n").encode())


def load_pose_vae(folder: Path) -> PoseVae:
    """Read a checkpoint folder into a model in evaluation mode, float32.

    Raises:
        InvalidArtifact: a file is missing, broken, holds NaN, or does not match the architecture.
    """
    try:
        model = PoseVae(PoseVaeConfig.model_validate_json((folder / CONFIG).read_text()))
        state = load_file(folder / WEIGHTS)
        model.load_state_dict(state)
    except (OSError, ValidationError, RuntimeError, ValueError, SafetensorError) as error:
        raise InvalidArtifact(f"{folder} is not a usable pose VAE: {error}") from error
    if not all(bool(torch.isfinite(v).all()) for v in state.values()):
        raise InvalidArtifact(f"{folder / WEIGHTS} holds NaN or infinite weights")
    return model.eval()


def _part_of() -> Tensor:
    return torch.tensor([next(i for i, part in enumerate(PARTS) if j in part) for j in range(NUM_JOINTS)])


def _mlp(config: PoseVaeConfig, hidden: int) -> tuple[nn.Module, nn.Module]:
    """Encoder (B, 22, 3) -> (B, 7, 2 D) and decoder (B, 7, D) -> (B, 22, 6) with two hidden layers each."""
    parts, channels = len(PARTS), config.channels

    def of(inputs: int, outputs: tuple[int, int]) -> nn.Module:
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
            nn.Linear(hidden, outputs[0] * outputs[1]), nn.Unflatten(1, outputs),
        )  # fmt: skip

    return of(NUM_JOINTS * 3, (parts, 2 * channels)), of(parts * channels, (NUM_JOINTS, SIX))


def _hidden(config: PoseVaeConfig) -> int:
    """Hidden width of the MLP whose number of parameters is nearest to that of the graph's networks.

    With I inputs and O outputs of both networks together it has 2 h^2 + (I + O + 4) h + O parameters.
    """
    goal = num_parameters(GraphEncoder(config)) + num_parameters(GraphDecoder(config))
    latent = len(PARTS) * config.channels
    outputs = 2 * latent + NUM_JOINTS * SIX
    linear = NUM_JOINTS * 3 + latent + outputs + 4
    return max(1, round((-linear + (linear**2 + 8 * (goal - outputs)) ** 0.5) / 4))
