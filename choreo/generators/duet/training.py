"""From a recipe and couples to a trained duet generator."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from choreo.data.couple import Couple
from choreo.data.windows.couples import CoupleWindows
from choreo.generators.checkpoint import save_generator
from choreo.generators.duet.config import DuetConfig, DuetStatistics
from choreo.generators.duet.graphs import duet_spec
from choreo.generators.duet.losses import DuetLoss, rigid
from choreo.generators.duet.model import DuetNetwork
from choreo.generators.duet.network import VaeCore, body_of, joints_of, relation_of
from choreo.generators.duet.recipe import DuetRecipe
from choreo.motion.pose_states import STATE
from choreo.training.best import best_generator
from choreo.training.ema import Ema
from choreo.training.loop import Task, loader, num_windows
from choreo.training.resuming import refuse_another_run

Batch = dict[str, Tensor]

MEASURED_WINDOWS: Final = 512
"""Windows that the statistics are of."""
HELD_OUT_WINDOWS: Final = 128
HELD_OUT_SEED: Final = 7919
MIN_STD: Final = 1e-3
BEGINNING: Final = 0.02
"""What the first frame of a follower counts: from nothing it can only be guessed, a hundred times worse than a step."""
REMAINING: Final = 0.9
"""Share of the way that a follower is out of place which is left a frame later: a half in a fifth of a second."""


def duet_config(recipe: DuetRecipe, windows: CoupleWindows) -> DuetConfig:
    """Sizes from the recipe and statistics from its windows."""
    network = recipe.network
    spec = duet_spec(recipe.name, network.frames, network.look_ahead, 2 * network.latent)
    return DuetConfig(spec=spec, network=network, windows=measured(windows))


def measured(windows: CoupleWindows) -> DuetStatistics:
    """Means and deviations over the first windows."""
    some = [windows[i] for i in range(min(MEASURED_WINDOWS, len(windows)))]
    leader, follower = (torch.from_numpy(np.stack([w[name] for w in some])) for name in ("leader", "follower"))
    given, own = leader[:, : follower.shape[1]], joints_of(follower)
    step = follower.diff(dim=1).flatten(0, 1)
    out: dict[str, tuple[float, ...]] = {"step_std": _rounded(step.pow(2).mean(0).sqrt())}
    for name, values in (("body", body_of(leader)), ("state", follower), ("relation", relation_of(given, own))):
        flat = values.flatten(0, 1)
        out |= {f"{name}_mean": _rounded(flat.mean(0), False), f"{name}_std": _rounded(flat.std(0), least=0.02)}
    return DuetStatistics.model_validate(out)


def _rounded(values: Tensor, positive: bool = True, least: float = MIN_STD) -> tuple[float, ...]:
    return tuple(np.round((values.clamp(min=least) if positive else values).double().numpy(), 6).tolist())


class DuetTask(Task):
    """A network that learns what a follower does next."""

    shown = ("loss/total", "loss/mse")

    def __init__(self, recipe: DuetRecipe, training: Sequence[Couple], held_out: Sequence[Couple]) -> None:
        """A network with initial weights.

        Raises:
            InvalidInput: no couple is long enough for a window.
        """
        options = recipe.variations.options(recipe.network)
        self.recipe, self.name, self.options = recipe, recipe.name, recipe.train
        self.windows = CoupleWindows(training, num_windows(recipe.train), options, recipe.train.seed)
        self.held_out = (
            CoupleWindows(held_out, HELD_OUT_WINDOWS, options.without_variation(), HELD_OUT_SEED) if held_out else None
        )
        self.config = duet_config(recipe, CoupleWindows(training, MEASURED_WINDOWS, options, recipe.train.seed))
        torch.manual_seed(recipe.train.seed)
        self.duet = DuetNetwork(self.config)
        self.network = self.averaged = self.duet
        self.best = best_generator(recipe.train.best_by, {})

    def begin(self, accelerator: Accelerator, ema: Ema) -> None:
        """Note the device."""
        self._accelerator = accelerator
        self._loss = DuetLoss(self.recipe.couple_losses).to(accelerator.device)

    def seed_of(self, index: int, process: int) -> int:
        """A hash of the recipe's seed, the batch and the process."""
        return hash((self.options.seed, index, process)) & 0x7FFFFFFF

    def loss(self, batch: Batch, model: nn.Module) -> Mapping[str, Tensor]:
        """Loss terms of a batch of `CoupleWindows`."""
        if float(torch.rand(())) < self.recipe.no_input_prob:
            return self._of_one_dancer(batch)
        inputs, target, counted = self._inputs(batch)
        for _ in range(self.recipe.variations.own):
            inputs = self._with_own_frames(inputs, model)
        target = self._recovering(inputs, target, batch["follower"][:, :-1])
        return self._loss(inputs, *model(inputs), target, counted)

    def validate(self, weights: dict[str, Tensor]) -> dict[str, float] | None:
        """Losses of averaged weights on held-out windows, whose past is not spoilt."""
        if self.held_out is None:
            return None
        self._candidate.load_state_dict(weights)
        torch.manual_seed(self.options.seed)
        batches = loader(self.held_out, self.options, self._accelerator, drop_last=False)
        sums: dict[str, float] = {}
        for batch in batches:
            inputs, target, counted = self._inputs({k: v.to(self._accelerator.device) for k, v in batch.items()})
            for name, value in self._loss(inputs, *self._candidate(inputs), target, counted).items():
                sums[f"loss/{name}"] = sums.get(f"loss/{name}", 0.0) + float(value) / len(batches)
        return sums

    def save(self, folder: Path, weights: dict[str, Tensor]) -> None:
        """Write a checkpoint folder of the generator."""
        save_generator(folder, self.config, weights)

    def description(self) -> dict[str, str]:
        """Recipe and configuration as JSON."""
        return {"recipe": self.recipe.model_dump_json(), "config": self.config.model_dump_json()}

    def check(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse the checkpoint of another model, or of one trained on other data."""
        refuse_another_run(state, self.recipe, self.config, path)

    @cached_property
    def _candidate(self) -> DuetNetwork:
        """A network in which averaged weights are scored."""
        return DuetNetwork(self.config).to(self._accelerator.device).eval()

    def _inputs(self, batch: Batch) -> tuple[Batch, Tensor, Tensor]:
        """What the network is given, the states to come (B, W, 135), and which of them count (B, W)."""
        follower, frames = batch["follower"], self.recipe.network.frames
        at = torch.arange(frames, device=follower.device)
        known = (at >= batch["first"]).float()
        counted = (at >= batch["first"]).float() + BEGINNING * (at == batch["first"] - 1).float()
        states = self._spoilt(follower[:, :-1])
        noise = torch.randn(len(states), frames, self.config.noise, device=states.device)
        inputs = {
            "leader": batch["leader"].flatten(2), "states": states, "known": known[..., None], "role": batch["role"],
            "noise": noise,
        }  # fmt: skip
        return inputs, follower[:, 1:], counted

    def _recovering(self, inputs: Batch, target: Tensor, truth: Tensor) -> Tensor:
        """States to come from a past that is out of its place: back to it little by little, not in one frame."""
        away = (inputs["states"] - truth)[..., :3] * inputs["known"] * REMAINING
        return torch.cat([target[..., :3] + away, target[..., 3:]], dim=2)

    def _spoilt(self, states: Tensor) -> Tensor:
        """The past with noise and out of its place, while training."""
        if not torch.is_grad_enabled():
            return states
        how, network = self.recipe.variations, self.duet.follower
        share = torch.rand(len(states), 1, 1, device=states.device)
        noisy = states + torch.randn_like(states) * network.step_std * how.noise * share
        away = torch.randn(len(states), 1, STATE, device=states.device) * torch.rand_like(share)
        away[..., 3:] = 0
        return rigid(noisy + how.misplaced * away * away.new_tensor((1.0, 0.3, 1.0) + (0.0,) * (STATE - 3)))

    @torch.no_grad()
    def _with_own_frames(self, inputs: Batch, model: nn.Module) -> Batch:
        """Inputs with frames of the past, at random, as the network makes them of those before."""
        states, known = inputs["states"], inputs["known"]
        made = rigid(model(inputs)[0][:, :-1])
        share = torch.rand(len(states), 1, 1, device=states.device)
        replaced = (torch.rand(states.shape[0], made.shape[1], 1, device=states.device) < share) & (known[:, 1:] > 0)
        return inputs | {"states": torch.cat([states[:, :1], torch.where(replaced, made, states[:, 1:])], dim=1)}

    def _of_one_dancer(self, batch: Batch) -> Mapping[str, Tensor]:
        """The loss of one dancer's autoencoder, the only one that gets gradients and therefore steps."""
        follower = self.duet.follower
        core = follower.core
        assert isinstance(core, VaeCore)
        first = bool(torch.rand(()) < 0.5)
        of_leader = batch["leader"]
        joints = of_leader if first else joints_of(batch["follower"])
        body = ((body_of(joints) - follower.body_mean) / follower.body_std)[:, : self.recipe.network.frames]
        noise = torch.randn(*body.shape[:2], self.recipe.network.latent, device=body.device)
        made, posterior = (core.first if first else core.second)(body, noise)
        error = ((made - body) ** 2).mean()
        kl = posterior.divergence().mean()
        weights = self.recipe.couple_losses
        return {"mse": error, "kl": kl, "total": weights.mse * error + weights.kl * kl}
