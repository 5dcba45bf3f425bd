"""Latent diffusion on one page: handwritten digits are compressed by a VAE and made anew by diffusion of its latents.

    python examples/mnist_latent_diffusion.py --out out/digits

The digits are the 1 797 images of 8 x 8 pixels that come with scikit-learn (`load_digits`), small relatives of MNIST;
nothing is downloaded. The noise schedule, the sampler and the addressed noise are those that make dances: a latent
stands where a frame of motion stands there. docs/walkthrough.md explains every step.

Letters in shapes: B rows of a batch, P pixels of an image (64), D numbers of a latent (12).
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn import functional as F

from choreo.diffusion.noise import INITIAL, gaussian
from choreo.diffusion.samplers import sampler
from choreo.diffusion.schedule import NoiseSchedule
from choreo.evaluation.prdc import prdc_of_distances, radii
from choreo.models.layers import sinusoid
from choreo.reporting.panels import panels

PIXELS, SIDE, CLASSES = 64, 8, 10
LATENT: Final = 12
WIDTH: Final = 256
HELD_OUT: Final = 397
"""The last images. Neighbours are often by one writer, so these are mostly by writers that training has not seen."""
KL_WEIGHT: Final = 1e-2
"""Small: the latents need not be Gaussian, since diffusion learns their distribution; they need only be smooth."""
NULL: Final = CLASSES
"""The class of rows without one."""
DROPPED: Final = 0.15
"""Share of the training rows whose class is hidden, for classifier-free guidance."""
BATCH: Final = 128
SAMPLES_PER_CLASS: Final = 40
SHOWN: Final = 20
"""Images of each kind in the picture."""

Array = NDArray[np.float32]


# 1. The data.


@dataclass(frozen=True)
class Digits:
    """Images (N, P) in 0..1 and their classes (N,)."""

    images: Array
    labels: NDArray[np.int64]


def digits() -> tuple[Digits, Digits]:
    """Training and held-out digits."""
    found = load_digits()
    images, labels = (found.data / 16).astype(np.float32), found.target.astype(np.int64)
    return Digits(images[:-HELD_OUT], labels[:-HELD_OUT]), Digits(images[-HELD_OUT:], labels[-HELD_OUT:])


def batches(count: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Indices (B,) of training rows."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield torch.randint(count, (BATCH,), generator=generator)


# 2. The VAE: an image to D numbers and back.


class Vae(nn.Module):
    """Variational autoencoder (Kingma & Welling 2014) of two small MLPs."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(PIXELS, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 2 * LATENT)
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, PIXELS)
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance (B, D) of q(z | x)."""
        mean, log_variance = self.encoder(images).chunk(2, dim=-1)
        return mean, log_variance.clamp(-12, 4)

    def decode(self, latents: Tensor) -> Tensor:
        """Images (B, P) in 0..1."""
        return torch.sigmoid(self.decoder(latents))


def train_vae(data: Digits, steps: int, seed: int) -> tuple[Vae, list[float]]:
    """The VAE and its loss at every step: squared error per image, plus `KL_WEIGHT` times the KL divergence."""
    torch.manual_seed(seed)
    vae, images = Vae(), torch.from_numpy(data.images)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for rows in batches(len(images), steps, seed):
        x = images[rows]
        mean, log_variance = vae.encode(x)
        z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
        loss = (vae.decode(z) - x).square().sum(-1).mean() + KL_WEIGHT * kl.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        losses.append(loss.item())
    return vae.eval().requires_grad_(False), losses


@dataclass(frozen=True)
class Scale:
    """Mean and deviation (D,) of the training latents: diffusion expects data of unit variance."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, latents: Tensor) -> "Scale":
        """Measured on latents (N, D)."""
        return cls(latents.mean(0), latents.std(0))


# 3. Diffusion of the latents.


class Denoiser(nn.Module):
    """Predicts the clean latent from a noisy one, its timestep and its class: residual MLP blocks."""

    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.input, self.output = nn.Linear(LATENT, WIDTH), nn.Linear(WIDTH, LATENT)
        self.time, self.label = nn.Linear(WIDTH, WIDTH), nn.Embedding(CLASSES + 1, WIDTH)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
            for _ in range(blocks)
        )

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """x_t (B, D), t (B,), label (B,) with `NULL` where there is none; returns x0 (B, D)."""
        condition = self.time(sinusoid(t, WIDTH)) + self.label(label)
        h = self.input(x_t)
        for block in self.blocks:
            h = h + block(h + condition)
        return self.output(h)


def train_denoiser(
    latents: Tensor, labels: Tensor, schedule: NoiseSchedule, steps: int, seed: int
) -> tuple[Denoiser, list[float]]:
    """The denoiser and its loss at every step: squared error of x0, Ho et al. 2020 eq. 4 with a network for x0."""
    torch.manual_seed(seed)
    denoiser = Denoiser()
    alpha_bar = torch.from_numpy(schedule.alphas_cumprod).float()
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses = []
    for rows in batches(len(latents), steps, seed + 1):
        x0 = latents[rows]
        t = torch.randint(schedule.num_train_timesteps, (BATCH,))
        a = alpha_bar[t][:, None]
        x_t = a.sqrt() * x0 + (1 - a).sqrt() * torch.randn_like(x0)
        label = torch.where(torch.rand(BATCH) < DROPPED, NULL, labels[rows])
        loss = F.mse_loss(denoiser(x_t, t, label), x0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        losses.append(loss.item())
    return denoiser.eval().requires_grad_(False), losses


def sample(
    denoiser: Denoiser, schedule: NoiseSchedule, labels: NDArray[np.int64], guidance: float, num_steps: int, seed: int
) -> Tensor:
    """Latents (N, D) of unit variance for classes (N,), by DDIM.

    Args:
        guidance: scale of classifier-free guidance (Ho & Salimans 2022); 1 is none. Of no effect for `NULL`.
    """
    steps = sampler("ddim")
    # Noise is a function of (seed, row, channel, step), as it is of the frame in a dance.
    x = gaussian(seed, 0, len(labels), LATENT, INITIAL)
    label, null = torch.from_numpy(labels), torch.full((len(labels),), NULL)
    for t, t_prev in steps.timesteps(schedule, num_steps):
        time = torch.full((len(labels),), int(t))
        conditional = denoiser(torch.from_numpy(x), time, label)
        unconditional = denoiser(torch.from_numpy(x), time, null)
        x0 = (unconditional + guidance * (conditional - unconditional)).numpy()
        rows = np.full(len(labels), t), np.full(len(labels), t_prev)
        x = steps.step(schedule, x, x0, *rows).astype(np.float32)
    return torch.from_numpy(x)


# 4. How good are they?


@dataclass(frozen=True)
class Quality:
    """Figures of a set of images.

    Attributes:
        accuracy: share that a classifier, trained on real digits, takes for what they are meant to be; None without
            a meaning.
        precision, recall: share of the images that lie among the training images, and the reverse, by distances of
            pixels (Kynkaanniemi et al. 2019).
        distance: median distance to the nearest training image; copies would have 0.
    """

    accuracy: float | None
    precision: float
    recall: float
    distance: float


class Judge:
    """Compares images with real digits."""

    def __init__(self, training: Digits) -> None:
        self._training = training
        self._classifier = SVC(gamma=0.25, C=10).fit(training.images, training.labels)
        self._around = radii(cdist(training.images, training.images))

    def quality(self, images: Array, labels: NDArray[np.int64] | None = None) -> Quality:
        """Figures of images (N, P), N above 5, that are meant to be of classes (N,)."""
        between = cdist(self._training.images, images)
        found = prdc_of_distances(between, self._around, cdist(images, images))
        right = None if labels is None else float((self._classifier.predict(images) == labels).mean())
        return Quality(right, found.precision, found.recall, float(np.median(between.min(0))))


# 5. All of it.


@dataclass(frozen=True)
class Made:
    """What a run made: images (N, P) by what they are, their figures, and the losses of the two trainings."""

    rows: dict[str, Array]
    quality: dict[str, Quality]
    losses: dict[str, list[float]]


def run(vae_steps: int, denoiser_steps: int, num_steps: int, guidance: float, seed: int) -> Made:
    """Train both networks and make digits."""
    training, held_out = digits()
    vae, vae_losses = train_vae(training, vae_steps, seed)
    means = vae.encode(torch.from_numpy(training.images))[0]
    scale = Scale.of(means)
    schedule = NoiseSchedule.make("cosine")
    latents = (means - scale.mean) / scale.std
    denoiser, losses = train_denoiser(latents, torch.from_numpy(training.labels), schedule, denoiser_steps, seed)

    def decoded(latents: Tensor) -> Array:
        return vae.decode(latents * scale.std + scale.mean).numpy()

    classes = np.tile(np.arange(CLASSES), SAMPLES_PER_CLASS)
    of_real = vae.encode(torch.from_numpy(held_out.images))[0]
    free = sample(denoiser, schedule, np.full(len(classes), NULL), 1.0, num_steps, seed)
    images = {
        "real, held out": (held_out.images, held_out.labels),
        "reconstructed": (vae.decode(of_real).numpy(), held_out.labels),
        "Gaussian latents": (decoded(torch.from_numpy(gaussian(seed, 0, len(classes), LATENT, INITIAL))), None),
        "generated": (decoded(free), None),
        "by class": (decoded(sample(denoiser, schedule, classes, 1.0, num_steps, seed)), classes),
        "by class, guided": (decoded(sample(denoiser, schedule, classes, guidance, num_steps, seed)), classes),
    }
    judge = Judge(training)
    return Made(
        {name: pixels for name, (pixels, _) in images.items()},
        {name: judge.quality(pixels, labels) for name, (pixels, labels) in images.items()},
        {"VAE": vae_losses, "denoiser": losses},
    )


def write_picture(rows: dict[str, Array], path: Path) -> None:
    """Draw `SHOWN` images of each kind as a PNG; those by class are two each of 0 to 9."""
    figure, axes = panels(len(rows), 1, (9.0, 0.45))
    for axis, (name, images) in zip(axes, rows.items(), strict=True):
        framed = np.pad(images[:SHOWN].reshape(SHOWN, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)))
        axis.imshow(np.concatenate(framed, axis=1), cmap="gray_r", vmin=0, vmax=1)
        axis.set(xticks=(), yticks=())
        axis.spines[:].set_visible(False)
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    figure.savefig(path, dpi=110, bbox_inches="tight")


def print_results(made: Made) -> None:
    """Losses, means over the first and the last 50 steps, and the figures of every kind of image."""
    for name, losses in made.losses.items():
        print(f"{name} loss: {np.mean(losses[:50]):.3f} in the first 50 steps, {np.mean(losses[-50:]):.3f} in the last")
    print(f"\n{'':18}{'accuracy':>10}{'precision':>11}{'recall':>9}{'distance':>10}")
    for name, of in made.quality.items():
        accuracy = "" if of.accuracy is None else f"{of.accuracy:.3f}"
        print(f"{name:18}{accuracy:>10}{of.precision:>11.3f}{of.recall:>9.3f}{of.distance:>10.2f}")


def main(argv: Sequence[str] | None = None) -> None:
    """Train, make digits, and write `digits.png` and `figures.json`."""
    parser = argparse.ArgumentParser(description="A VAE and latent diffusion on handwritten digits.")
    parser.add_argument("--steps", type=int, default=50, help="denoising steps, 1 to 1000")
    parser.add_argument("--guidance", type=float, default=2.0, help="scale of the guidance by class, 1 to 10")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same digits")
    parser.add_argument("--quick", action="store_true", help="train for seconds, which gives worse digits")
    parser.add_argument("--out", type=Path, default=Path("out/digits"), help="folder for the results")
    args = parser.parse_args(argv)
    for name, low, high in (("steps", 1, 1000), ("guidance", 1, 10), ("seed", 0, 2**31 - 1)):
        if not low <= getattr(args, name) <= high:
            parser.error(f"--{name} must be between {low} and {high}, got {getattr(args, name)}")

    vae_steps, denoiser_steps = (400, 600) if args.quick else (3000, 6000)
    made = run(vae_steps, denoiser_steps, args.steps, args.guidance, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    write_picture(made.rows, args.out / "digits.png")
    document = {name: asdict(of) for name, of in made.quality.items()}
    (args.out / "figures.json").write_text(json.dumps(document, indent=1) + "\n")
    print_results(made)


if __name__ == "__main__":
    main()
