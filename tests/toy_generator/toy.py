"""A generator of its own family: two small networks and what the program must know of them."""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from choreo.data.windows.windows import feature_statistics
from choreo.generators.config import GeneratorConfig
from choreo.generators.spec import GeneratorSpec, GraphSpec, Null, Role, TensorSpec
from choreo.generators.windowed import CONDITIONER, DENOISER, WindowedDiffusion
from choreo.generators.windowed_network import WindowedNetwork
from choreo.training.generator import GeneratorTask
from choreo.training.recipe import GeneratorRecipe
from choreo.training.windowed import TrainingData, cut_windows

HIDDEN = 16


class ToyRecipe(GeneratorRecipe):
    architecture: Literal["toy"] = "toy"


class ToyConditioner(nn.Module):
    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        self.music, self.text = nn.Linear(spec.music_dim, HIDDEN), nn.Linear(spec.text_dim, HIDDEN)

    def forward(self, music: Tensor, mask: Tensor, text: Tensor, has_music: Tensor, has_text: Tensor) -> Tensor:
        heard = self.music(music).tanh() * mask[..., None]
        return has_music * heard.mean(dim=1) + has_text * self.text(text).tanh()


class ToyDenoiser(nn.Module):
    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__()
        self.frame = nn.Sequential(nn.Linear(spec.channels + HIDDEN + 1, 64), nn.GELU(), nn.Linear(64, spec.channels))

    def forward(self, x: Tensor, t: Tensor, context: Tensor) -> Tensor:
        row = torch.cat([context, t / 1000], dim=1)[:, None].expand(-1, x.shape[1], -1)
        return self.frame(torch.cat([x, row], dim=2))


class ToyGenerator(WindowedDiffusion):
    family = "toy"

    @classmethod
    def recipe_type(cls) -> type[GeneratorRecipe]:
        return ToyRecipe

    @classmethod
    def config_type(cls) -> type[GeneratorConfig]:
        return GeneratorConfig

    @classmethod
    def network(cls, config: Any) -> WindowedNetwork:
        return WindowedNetwork(config, ToyConditioner(config.spec), ToyDenoiser(config.spec))

    @classmethod
    def task(cls, recipe: Any, data: TrainingData) -> GeneratorTask:
        config = GeneratorConfig(spec=toy_spec(recipe, data))
        cut = cut_windows(recipe, config.spec, data)
        return GeneratorTask(recipe, config, cut.training, cut.validation, cut.dances)


def toy_spec(recipe: GeneratorRecipe, data: TrainingData) -> GeneratorSpec:
    mean, std = feature_statistics(data.training)
    frames, frame = recipe.window, (recipe.window, len(mean))
    conditioner = (
        TensorSpec(name="music", shape=(frames, recipe.music_dim), null=Null.ZEROS),
        TensorSpec(name="music_mask", shape=(frames,), role=Role.MASK, null=Null.ONES),
        TensorSpec(name="text", shape=(recipe.text_dim,), null=Null.ZEROS),
        TensorSpec(name="has_music", shape=(1,), role=Role.MASK, null=Null.ZEROS),
        TensorSpec(name="has_text", shape=(1,), role=Role.MASK, null=Null.ZEROS),
    )
    denoiser = (
        TensorSpec(name="x", shape=frame),
        TensorSpec(name="t", shape=(1,), role=Role.INDEX, limit=1000),
        TensorSpec(name="context", shape=(HIDDEN,), null=Null.ENCODED),
    )
    context, x0 = TensorSpec(name="context", shape=(HIDDEN,)), TensorSpec(name="x0", shape=frame)
    graphs = (
        GraphSpec(name=CONDITIONER, inputs=conditioner, outputs=(context,), per_step=False, cost=0.1),
        GraphSpec(name=DENOISER, inputs=denoiser, outputs=(x0,)),
    )
    return GeneratorSpec(name=recipe.name, family="toy", mean=tuple(mean), std=tuple(std), graphs=graphs)
