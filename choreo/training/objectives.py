"""What a generator is trained to do with a batch of windows."""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from choreo.training.losses import MotionLoss
from choreo.training.noising import Noising
from choreo.training.normalized import Batch


class Objective(Protocol):
    """Terms of a loss, `total` among them, of a normalised batch under a model; random by torch's own generator."""

    def __call__(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """`model` is the network that is trained, with whatever wraps it, or its average."""
        ...


class Denoising:
    """Predict the motion of windows under noise of any timestep."""

    def __init__(self, noising: Noising, loss: MotionLoss) -> None:
        self._noising, self._loss = noising, loss

    def __call__(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """The loss of denoising on a batch; arguments and result as in `Objective`."""
        noising, x0 = self._noising, batch["x0"]
        t = torch.randint(noising.num_train_timesteps, (len(x0),), device=x0.device)
        x_t = noising.noised(x0, t)
        output = model(batch | {"x": x_t, "t": t[:, None].float()}).float()
        return self._loss(noising.x0(output, x_t, t), x0, batch["frame_mask"], noising.level(t), batch.get("rhythm"))
