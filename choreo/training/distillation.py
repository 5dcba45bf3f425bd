"""Consistency distillation: the student's predictions along one path of the teacher's are to be one and the same dance.

Song et al. 2023 (algorithm 2) and Luo et al. 2023 (LCM, algorithm 1); MotionLCM (Dai et al. 2024) has it for motion.
Paper -> code: t_{n+k} -> t, t_n -> t_prev, f_theta -> model, f_theta^- -> target, Psi -> `TeacherPath.step`, w ->
guidance_scale. Their c_skip and c_out are the generator's own: at low noise its Gaussian model gives back what it sees.
"""

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import Dataset

from choreo.diffusion.parameters import DiffusionParameters
from choreo.diffusion.timesteps import even_in_log_snr
from choreo.generators.config import GeneratorConfig
from choreo.generators.network import GeneratorNetwork
from choreo.generators.spec import Null
from choreo.training.ema import Ema
from choreo.training.generator import GeneratorTask
from choreo.training.held_out_dances import HeldOutDances
from choreo.training.losses import MotionLoss
from choreo.training.noising import Noising
from choreo.training.normalized import Batch
from choreo.training.objectives import Objective
from choreo.training.recipe import GeneratorRecipe


class DistillationConfig(BaseModel):
    """Whose paths, and how they are followed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: Path
    """Checkpoint folder, in a recipe seen from where that is. The student begins as a copy, statistics and all."""
    guidance_scale: float = Field(2.5, ge=0)
    """Classifier-free guidance of the teacher, which the student learns with the rest and is asked for without."""
    guidance_low: float = Field(0.0, ge=0, le=1)
    """Lowest noise, t / T, at which it acts (Kynkaanniemi et al. 2024)."""
    steps: int = Field(9, ge=1)
    """Steps of the teacher's path, even in log-SNR; the student learns that one of them makes no difference. With a
    multiple of four and one more, sampling in 1, 2 or 4 steps visits timesteps that it has learned."""
    huber: float = Field(0.5, gt=0)
    """Errors beyond this, in units of the loss, count by their size and not by their square."""


class TeacherPath:
    """Where the guided teacher goes: DPM-Solver++(2S) (Lu et al. 2022, arXiv 2211.01095, algorithm 1, r = 1/2).

    Steps of first order leave a fifth of a dance's energy behind at twice as many.

    Attributes:
        times: (S, 3) timesteps t, the one half of the way in log-SNR, and t_prev; the last step, to -1, is of first
            order and has t twice.
    """

    def __init__(self, config: DistillationConfig, teacher: GeneratorNetwork, noising: Noising) -> None:
        self._config, self._teacher, self._noising = config, teacher.eval().requires_grad_(False), noising
        schedule = DiffusionParameters.of(teacher.spec).noise_schedule()
        self._null = {t.name for graph in teacher.spec.graphs for t in graph.inputs if t.null is Null.ZEROS}
        halves = even_in_log_snr(2 * config.steps - 1, schedule)[:, 0]
        times = np.stack([halves[::2], np.append(halves[1::2], halves[-1]), np.append(halves[2::2], -1)], axis=1)
        self.times = torch.from_numpy(times).to(next(teacher.parameters()).device)

    @torch.no_grad()
    def step(self, batch: Batch, x_t: Tensor, times: Tensor) -> Tensor:
        """x_prev (B, T, C), given rows (B, 3) of `times`; where they end, the teacher's prediction."""
        t, middle, t_prev = times.T
        x0 = self.guided(batch, x_t, t)
        some = middle < t
        if some.any():
            x_middle = self._towards(x_t, x0, t, middle)[some]
            x0[some] = self.guided({name: values[some] for name, values in batch.items()}, x_middle, middle[some])
        return self._towards(x_t, x0, t, t_prev)

    @torch.no_grad()
    def guided(self, batch: Batch, x_t: Tensor, t: Tensor) -> Tensor:
        """x0 (B, T, C) that the teacher predicts; rows at less noise than guidance acts at are evaluated once."""
        config, inputs = self._config, batch | {"x": x_t, "t": t[:, None].float()}
        acts = t >= config.guidance_low * self._noising.num_train_timesteps
        null = {name: values[acts] * (name not in self._null) for name, values in inputs.items()}
        rows = {name: torch.cat([values, null[name]]) for name, values in inputs.items()}
        output = self._noising.x0(self._teacher(rows), rows["x"], torch.cat([t, t[acts]]))
        guided, unconditional = output[: len(t)].clone(), output[len(t) :]
        guided[acts] = unconditional + config.guidance_scale * (guided[acts] - unconditional)
        return guided

    def _towards(self, x_t: Tensor, x0: Tensor, t: Tensor, t_prev: Tensor) -> Tensor:
        """Along the line of a predicted x0 (DDIM)."""
        now, prev = self._noising.alphas_cumprod(t), self._noising.alphas_cumprod(t_prev)
        return prev.sqrt() * x0 + (1 - prev).sqrt() * (x_t - now.sqrt() * x0) / (1 - now).sqrt()


class Distillation:
    """The student from x_t is to predict what its average predicts from where the teacher goes from there.

    On the path's last step, to the noise-free end, the teacher's own prediction is what is asked for.
    """

    def __init__(
        self, path: TeacherPath, student: GeneratorNetwork, average: Ema, noising: Noising, loss: MotionLoss
    ) -> None:
        """`average` is of the student; all are on one device."""
        self._path, self._average, self._noising, self._loss = path, average, noising, loss
        # Its weights are the average's, given with every call.
        self._target = copy.deepcopy(student).eval().requires_grad_(False)

    def __call__(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """The student's loss on a batch; arguments and result as in `choreo.training.objectives.Objective`."""
        noising, x0 = self._noising, batch["x0"]
        times = self._path.times[torch.randint(len(self._path.times), (len(x0),), device=x0.device)]
        t = times[:, 0]
        x_t = noising.noised(x0, t)
        target = self.target(batch, x_t, times)
        output = model(batch | {"x": x_t, "t": t[:, None].float()}).float()
        predicted = noising.x0(output, x_t, t)
        return self._loss(predicted, target, batch["frame_mask"], noising.level(t), batch.get("rhythm"))

    @torch.no_grad()
    def target(self, batch: Batch, x_t: Tensor, times: Tensor) -> Tensor:
        """(B, T, C) that the student is to predict from x_t, given rows (B, 3) of the path's times."""
        x_prev, t_prev = self._path.step(batch, x_t, times), times[:, 2].clamp(min=0)
        inputs = batch | {"x": x_prev, "t": t_prev[:, None].float()}
        output = functional_call(self._target, self._average.shadow, (inputs,))
        ended = (times[:, 2] < 0)[:, None, None]
        return torch.where(ended, x_prev, self._noising.x0(output, x_prev, t_prev))


class DistillationTask(GeneratorTask):
    """A generator that learns from a teacher, with whose weights it begins."""

    def __init__(
        self,
        recipe: GeneratorRecipe,
        distillation: DistillationConfig,
        teacher: GeneratorNetwork,
        config: GeneratorConfig,
        windows: Dataset,
        validation: Dataset | None,
        dances: HeldOutDances | None = None,
    ) -> None:
        """As `GeneratorTask`, of a recipe with this `distillation`."""
        self._distillation, self._teacher = distillation, teacher
        super().__init__(recipe, config, windows, validation, dances)

    def _initialise(self) -> None:
        self.network.load_state_dict(self._teacher.state_dict())

    def _make_objective(self, noising: Noising, loss: MotionLoss, ema: Ema) -> Objective:
        path = TeacherPath(self._distillation, self._teacher.to(self._accelerator.device), noising)
        return Distillation(path, self.network, ema, noising, self._motion_loss(self._distillation.huber))
