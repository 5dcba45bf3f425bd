"""What surrounds every denoising network: correction by the noisy motion itself, known frames and the frame mask."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.diffusion.schedule import NoiseSchedule
from choreo.models.layers import sinusoid, zero_init
from choreo.models.spec import ModelSpec, Prediction

SMOOTHING_FRAMES = (0.0, 1.0, 2.5, 6.0)
"""Standard deviations of the Gaussian filters, frames; 0 is the motion itself."""
RADIUS = 18
WIDTH = 64


class Denoiser(nn.Module):
    """A network with the wire contract's output around it.

    For x0-prediction the network's estimate F is corrected by what it leaves unexplained, r = x_t - sqrt(abar_t) F:

        x0 = F + sum_k g_k(t) * (h_k conv r)

    with fixed smoothing filters h_k over time and learned gains g_k per channel and timestep. It is a Wiener filter on
    the residual: motion is smooth and noise is not, so at low noise the motion comes through whole although the
    narrowest layer of a small network has fewer channels than a frame, and at high noise the gains are nothing.
    """

    alphas_cumprod: Tensor
    filters: Tensor

    def __init__(self, network: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.network, self.prediction, self.channels = network, spec.prediction, spec.channels
        schedule = NoiseSchedule.make(spec.schedule, spec.num_train_timesteps)
        table = torch.from_numpy(schedule.alphas_cumprod).float()
        self.register_buffer("alphas_cumprod", table, persistent=False)
        self.register_buffer("filters", _filters(), persistent=False)
        last = nn.Linear(WIDTH, len(SMOOTHING_FRAMES) * spec.channels)
        zero_init(last)
        self.gains = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU(), last)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        context_mask: Tensor,
        prior: Tensor,
        known: Tensor,
        known_mask: Tensor,
        rhythm: Tensor,
        frame_mask: Tensor,
    ) -> Tensor:
        """Shapes as in `ModelSpec` with a batch axis; known frames come out as they went in, masked ones as zero."""
        out = self.network(x, t, context, context_mask, prior, known, known_mask, rhythm, frame_mask)
        mask = frame_mask[..., None]
        if self.prediction is Prediction.EPS:
            return out * mask
        signal = self.alphas_cumprod[t[:, 0].long()][:, None, None]
        x0 = out + self._correction((x - signal.sqrt() * out) * (1 - known_mask) * mask, t, mask)
        return known_mask * known + (1 - known_mask) * x0 * mask

    def _correction(self, residual: Tensor, t: Tensor, mask: Tensor) -> Tensor:
        """Filtered and weighted residual (B, T, C); near borders the filters average over the frames there are."""
        gains = self.gains(sinusoid(t[:, 0], WIDTH)).unflatten(1, (len(SMOOTHING_FRAMES), 1, self.channels))
        smooth = self._filtered(residual) / self._filtered(mask).clamp(min=1e-4)
        return (gains * smooth).sum(1)

    def _filtered(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, K, T, C), every filter along time."""
        padded = F.pad(x, (0, 0, RADIUS, RADIUS))[:, None]
        return F.conv2d(padded, self.filters)


def _filters() -> Tensor:
    """(K, 1, 2 RADIUS + 1, 1) Gaussian kernels of unit sum."""
    time = torch.arange(-RADIUS, RADIUS + 1).float()
    kernels = [torch.exp(-0.5 * (time / max(sigma, 1e-3)) ** 2) for sigma in SMOOTHING_FRAMES]
    return torch.stack([k / k.sum() for k in kernels])[:, None, :, None]
