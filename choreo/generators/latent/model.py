"""VAE and denoiser as one network, whose graphs see scaled latents only."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from choreo.errors import InvalidArtifact
from choreo.generators.latent.config import LatentConfig
from choreo.generators.latent.denoiser import LatentDenoiser
from choreo.generators.latent.graphs import DECODER, DENOISER, ENCODER, LatentScale
from choreo.generators.latent.vae import MlpDecoder, MotionDecoder, MotionEncoder, make_decoder
from choreo.generators.network import GeneratorNetwork


class LatentNetwork(GeneratorNetwork):
    """All weights of one latent generator.

    Raises:
        InvalidArtifact: the latents of the configuration have no scale.
    """

    config: LatentConfig

    def __init__(self, config: LatentConfig) -> None:
        super().__init__(config)
        scale = LatentScale.needed(config.spec)
        self.encoder = ScaledEncoder(MotionEncoder(config.vae), config.vae.tokens, scale)
        self.decoder = ScaledDecoder(make_decoder(config.vae), scale)
        self.denoiser = LatentDenoiser(config)

    def graphs(self) -> Mapping[str, nn.Module]:
        """The three networks."""
        return {ENCODER: self.encoder, DENOISER: self.denoiser, DECODER: self.decoder}

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Denoise one training batch: tensors named and shaped as in the spec, with a batch axis."""
        return self.denoiser(*(batch[name] for name in self.spec.graph(DENOISER).input_shapes))

    def expected_errors(self, alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the best linear denoiser of latents of variance 1; tokens are drawn independently of each other."""
        error = 1 - alphas_cumprod
        return error, 2 * error

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in torch.

        Raises:
            InvalidArtifact: there are no weights of the encoder, the denoiser or the decoder.
        """
        for part in (ENCODER, DENOISER, DECODER):
            if not any(name.startswith(f"{part}.") for name in state_dict):
                raise InvalidArtifact(
                    f"{self.spec.name} has no weights of its {part}; take the checkpoint from `model/` of a finished "
                    "training run"
                )
        return super().load_state_dict(state_dict, strict, assign)

    def freeze_vae(self) -> None:
        """Leave encoder and decoder out of the training."""
        for parameter in (*self.encoder.parameters(), *self.decoder.parameters()):
            parameter.requires_grad_(False)


class ScaledEncoder(nn.Module):
    """Mean latents of what is known of a motion, scaled, and the share of each token that is known."""

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, network: MotionEncoder, tokens: int, scale: LatentScale) -> None:
        super().__init__()
        self.network, self.tokens = network, tokens
        _register(self, scale)

    def forward(self, known: Tensor, known_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised features and mask (B, T, C) -> `given` (B, N, D) and `given_mask` (B, N, 1)."""
        mean, _ = self.network(known, known_mask)
        share = known_mask.unflatten(1, (self.tokens, -1)).flatten(2).mean(dim=2, keepdim=True)
        return (mean - self.latent_mean) / self.latent_std * (share > 0), share


class ScaledDecoder(nn.Module):
    """Scaled latents -> normalised features."""

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, network: MotionDecoder | MlpDecoder, scale: LatentScale) -> None:
        super().__init__()
        self.network = network
        _register(self, scale)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, N, D) -> (B, T, C)."""
        return self.network(latents * self.latent_std + self.latent_mean)


def _register(module: nn.Module, scale: LatentScale) -> None:
    for name, values in (("latent_mean", scale.latent_mean), ("latent_std", scale.latent_std)):
        module.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)
