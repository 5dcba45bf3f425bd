"""What surrounds every denoising network: the linear denoiser it improves on, known frames and the frame mask."""

import torch
from torch import Tensor, nn

from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.schedule import Prediction
from choreo.generators.gaussian import GaussianModel
from choreo.generators.spec import GeneratorSpec
from choreo.motion.representation import representation


class Denoiser(nn.Module):
    """A network with the wire contract around it.

    With the posterior of the data's Gaussian model (`GaussianModel`) under the noise of timestep t, the network F sees
    the posterior mean and the whitened noisy motion, and its output is added in units of the posterior deviation:

        x0 = mean(x_t, t) + deviation(t) * F(...)          per mode

    So at F = 0 it is the best linear denoiser, whatever F errs by is coloured like motion and not like noise, and at
    low noise what is known comes through whole.
    """

    alphas_cumprod: Tensor

    def __init__(self, network: nn.Module, spec: GeneratorSpec) -> None:
        super().__init__()
        parameters = DiffusionParameters.of(spec)
        self.network, self.prediction = network, parameters.prediction
        self.gaussian = GaussianModel(spec.window, spec.channels, representation(spec.representation).contacts)
        table = torch.from_numpy(parameters.noise_schedule().alphas_cumprod).float()
        self.register_buffer("alphas_cumprod", table, persistent=False)

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
        """Shapes as in `windowed_spec` with a batch axis; known frames come out as they went in, masked ones as zero.

        Known frames replace x_t, without noise, and their mask is an input of its own (CondMDI, Cohan et al. 2024).
        """
        mask, gaussian = frame_mask[..., None], self.gaussian
        a = self.alphas_cumprod[t[:, 0].long()][:, None, None]
        held = known_mask * a.sqrt() * known + (1 - known_mask) * x
        modes = gaussian.to_modes(_reflected(held, frame_mask))
        mean = gaussian.mean_gain(a) * modes
        axes = gaussian.axes.T
        seen = torch.cat([gaussian.to_frames(mean) @ axes, gaussian.to_frames(gaussian.whitening(a) * modes)], dim=2)
        out = self.network(seen, t, context, context_mask, prior, known_mask, rhythm, frame_mask)
        correction = gaussian.deviation(a) * (gaussian.cosines @ out)
        x0 = gaussian.to_frames(mean + correction) @ axes
        x0 = (known_mask * known + (1 - known_mask) * x0) * mask
        if self.prediction is Prediction.EPS:
            return (x - a.sqrt() * x0) / (1 - a).sqrt() * mask
        return x0


def _reflected(x: Tensor, frame_mask: Tensor) -> Tensor:
    """(B, T, C) with the frames after the last real one (B, T) replaced by those before it, back and forth."""
    count = frame_mask.sum(dim=1, keepdim=True).long().clamp(min=1)
    place = torch.arange(x.shape[1], device=x.device)[None] % (2 * count)
    source = torch.minimum(place, 2 * count - 1 - place)
    return torch.gather(x, 1, source[..., None].expand(-1, -1, x.shape[2]))
