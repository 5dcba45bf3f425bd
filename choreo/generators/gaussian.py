"""The best linear denoiser of motion, in closed form: what a network has to improve on, and the scale it works in."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

MIN_VARIANCE = 1e-7
"""Of a mode, in squares of a normalised feature: channels that rigid bones make redundant have none."""


class GaussianModel(nn.Module):
    """A Gaussian process over windows that is independent in (frequency, pose axis), and its posterior under noise.

    A window X (T, C) has the modes Y = D X V, with the orthonormal cosine transform D over frames and pose axes V, each
    with a variance lambda. For x_t = a X + s E, a^2 = abar_t, s^2 = 1 - abar_t, a mode's posterior has

        mean a lambda / (a^2 lambda + s^2) y_t      variance lambda s^2 / (a^2 lambda + s^2)

    The mean is the Wiener filter. With the standard deviation as scale of what a network adds to it, this is the
    preconditioning of Karras et al. 2022 (EDM, table 1: c_skip, c_out, c_in), one for each mode instead of one for all.
    Before `fit` all variances are one and the axes are the channels: EDM's own, in the variance-preserving form.

    Channels that are `apart`, such as contacts, which jump between 0 and 1, are axes of their own: in common axes their
    high frequencies would pass for motion, and the linear denoiser would leave them in it.
    """

    variances: Tensor
    axes: Tensor
    cosines: Tensor
    _difference: Tensor

    def __init__(self, frames: int, channels: int, apart: slice | None = None) -> None:
        super().__init__()
        self.frames, every = frames, range(channels)
        self._apart = [] if apart is None else list(every[apart])
        self._motion = [channel for channel in every if channel not in self._apart]
        self.register_buffer("variances", torch.ones(frames, channels))
        self.register_buffer("axes", torch.eye(channels))
        self.register_buffer("cosines", _cosines(frames), persistent=False)
        frequency = torch.arange(frames) * (math.pi / frames)
        self.register_buffer("_difference", (2 - 2 * frequency.cos())[:, None], persistent=False)

    @torch.no_grad()
    def fit(self, windows: NDArray[np.floating]) -> None:
        """Take axes (principal ones of the frames) and variances from normalised windows (N, T, C)."""
        x = np.asarray(windows, np.float64)
        frames = x.reshape(-1, x.shape[2])
        motion, count = frames[:, self._motion], len(self._motion)
        axes = np.zeros((x.shape[2], x.shape[2]))
        axes[self._motion, :count] = np.linalg.eigh(motion.T @ motion / len(motion))[1][:, ::-1]
        axes[self._apart, range(count, x.shape[2])] = 1
        modes = np.asarray(self.cosines.cpu().double()) @ (x @ axes)
        self.axes.copy_(torch.from_numpy(axes.copy()))
        self.variances.copy_(torch.from_numpy(np.maximum((modes**2).mean(axis=0), MIN_VARIANCE)))

    def to_modes(self, x: Tensor) -> Tensor:
        """(B, T, C) features -> modes."""
        return self.cosines @ (x @ self.axes)

    def to_frames(self, modes: Tensor) -> Tensor:
        """Modes (B, T, C) -> frames, still along the pose axes; `@ axes.T` makes features of them."""
        return self.cosines.T @ modes

    def mean_gain(self, alphas_cumprod: Tensor) -> Tensor:
        """(B, 1, 1) -> (B, T, C): posterior mean of a mode, over the noisy mode."""
        return alphas_cumprod.sqrt() * self.variances / self._spread(alphas_cumprod)

    def deviation(self, alphas_cumprod: Tensor) -> Tensor:
        """(B, 1, 1) -> (B, T, C): posterior standard deviation of a mode."""
        return (self.variances * (1 - alphas_cumprod) / self._spread(alphas_cumprod)).sqrt()

    def whitening(self, alphas_cumprod: Tensor) -> Tensor:
        """(B, 1, 1) -> (B, T, C): what makes noisy modes of unit variance."""
        return self._spread(alphas_cumprod).rsqrt()

    def expected_errors(self, alphas_cumprod: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) -> mean squared error of the posterior mean, and of its differences from frame to frame, each (B,).

        Of motion only: channels that are apart do not count.
        """
        variance = self.deviation(alphas_cumprod[:, None, None])[:, :, : len(self._motion)] ** 2
        return variance.mean(dim=(1, 2)), (variance * self._difference).mean(dim=(1, 2))

    def _spread(self, alphas_cumprod: Tensor) -> Tensor:
        return alphas_cumprod * self.variances + 1 - alphas_cumprod


def _cosines(frames: int) -> Tensor:
    """Orthonormal DCT-II matrix (T, T), frequency by frame."""
    frequency, time = np.arange(frames)[:, None], np.arange(frames)[None] + 0.5
    matrix = np.cos(np.pi * frequency * time / frames) * np.sqrt(2 / frames)
    matrix[0] /= np.sqrt(2)
    return torch.from_numpy(matrix).float()
