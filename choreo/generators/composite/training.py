"""From a recipe and clips to the three parts of a training run: tokeniser, language model, and the U-Net."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from torch import nn

from choreo.data.clip import Clip
from choreo.data.windows.windows import WindowOptions, Windows
from choreo.errors import InvalidArtifact, InvalidInput
from choreo.generators.base import Stage
from choreo.generators.checkpoint import load_generator
from choreo.generators.composite.config import CompositeConfig
from choreo.generators.composite.gpt_training import GptTask
from choreo.generators.composite.graphs import composite_spec
from choreo.generators.composite.in_betweening import KeyPoseDenoising
from choreo.generators.composite.model import CompositeNetwork, check_codebook, make_gpt
from choreo.generators.composite.parts import load_part, part_config, refuse_other_tokens
from choreo.generators.composite.recipe import CompositeRecipe
from choreo.generators.composite.tokenizer_training import TokenizerTask
from choreo.generators.unet.model import UNetModel
from choreo.models.motion_tokenizer import MotionTokenizer, fingerprint
from choreo.motion.representation import representation
from choreo.training.ema import Ema
from choreo.training.generator import GeneratorTask
from choreo.training.held_out_dances import HeldOutDances
from choreo.training.loop import MODEL, num_windows
from choreo.training.losses import MotionLoss
from choreo.training.noising import Noising
from choreo.training.objectives import Denoising, Objective
from choreo.training.options import TrainConfig
from choreo.training.windowed import VALIDATION_WINDOWS, TrainingData, config_fields, cut_windows

TOKENIZER: Final = "tokenizer"
GPT: Final = "gpt"


def composite_stages(recipe: CompositeRecipe, data: TrainingData) -> list[Stage]:
    """The tokeniser, the language model, and the U-Net between key poses."""
    return [
        Stage(TOKENIZER, recipe.tokenizer_train.max_steps, lambda folder: tokenizer_task(recipe, data)),
        Stage(GPT, recipe.gpt_train.max_steps, lambda folder: gpt_task(recipe, data, folder / TOKENIZER / MODEL)),
        Stage("", recipe.train.max_steps, lambda folder: composite_task(recipe, data, folder)),
    ]


def tokenizer_task(recipe: CompositeRecipe, data: TrainingData) -> TokenizerTask:
    """The training of the tokeniser."""
    config, options = generator_config(recipe, data.training), recipe.tokenizer_train
    return TokenizerTask(recipe, config, options, *_windows(recipe, data, options))


def gpt_task(recipe: CompositeRecipe, data: TrainingData, trained: Path) -> GptTask:
    """The training of the language model, with the tokeniser in a folder.

    Raises:
        InvalidArtifact: there is no usable tokeniser.
    """
    tokenizer = load_part(trained, MotionTokenizer(recipe.tokenizer), "tokeniser, which the language model needs")
    config, options = generator_config(recipe, data.training, fingerprint(tokenizer)), recipe.gpt_train
    return GptTask(recipe, config, tokenizer, options, *_windows(recipe, data, options))


def composite_task(recipe: CompositeRecipe, data: TrainingData, folder: Path) -> "CompositeTask":
    """The training of the U-Net, with what the other parts have made in the folder of the run.

    Raises:
        InvalidArtifact: a part is missing, or the language model speaks the tokens of another tokeniser.
        InvalidInput: the recipe's validation does not fit the generator or the data.
    """
    tokenizer = load_part(folder / TOKENIZER / MODEL, MotionTokenizer(recipe.tokenizer), "tokeniser")
    spoken = part_config(folder / GPT / MODEL).codebook
    config = generator_config(recipe, data.training, fingerprint(tokenizer))
    check_codebook(recipe.name, tokenizer, spoken)
    gpt = load_part(folder / GPT / MODEL, make_gpt(config), "language model")
    cut = cut_windows(recipe, config.spec, data)
    return CompositeTask(recipe, config, (tokenizer, gpt), cut.training, cut.validation, cut.dances)


def generator_config(recipe: CompositeRecipe, clips: Sequence[Clip], codebook: str = "") -> CompositeConfig:
    """Sizes from the recipe, and statistics from the training clips or of the U-Net that learns on."""
    fields = config_fields(recipe, recipe.denoiser, clips)
    unet = fields["spec"]
    mean, std, music = unet.mean, unet.std, {}
    if recipe.in_betweener is not None:
        before = _in_betweener(recipe.in_betweener).config
        mean, std = before.spec.mean, before.spec.std
        music = {"music_mean": before.music_mean, "music_std": before.music_std}
    spec = composite_spec(
        recipe.name,
        codes=recipe.tokenizer.codes,
        width=recipe.gpt.width,
        layers=recipe.gpt.layers,
        context=recipe.gpt.context,
        plan=recipe.plan,
        window=unet.window,
        context_tokens=recipe.conditioner.context_tokens,
        context_dim=recipe.conditioner.context_dim,
        music_encoder=recipe.music_encoder,
        music_dim=recipe.music_dim,
        text_encoder=recipe.text_encoder,
        text_dim=recipe.text_dim,
        rhythm_channels=recipe.denoiser.rhythm_channels,
        prediction=recipe.prediction,
        schedule=recipe.schedule,
        num_train_timesteps=recipe.num_train_timesteps,
        representation=recipe.representation,
        mean=mean,
        std=std,
    )
    own = {"spec": spec, "tokenizer": recipe.tokenizer, "gpt": recipe.gpt, "codebook": codebook}
    return CompositeConfig(**(fields | music | own))


class CompositeTask(GeneratorTask):
    """A U-Net that learns to dance between key poses of a tokeniser and a language model, which stay as they are."""

    recipe: CompositeRecipe

    def __init__(
        self,
        recipe: CompositeRecipe,
        config: CompositeConfig,
        parts: tuple[nn.Module, nn.Module],
        windows: Windows,
        validation: Windows | None,
        dances: HeldOutDances | None = None,
    ) -> None:
        """A U-Net with initial weights, or with those of the recipe's `in_betweener`.

        Args:
            recipe: of the run.
            config: of the generator.
            parts: tokeniser and language model, trained.
            windows: all windows of this part, in order.
            validation: held-out windows, whose loss is measured.
            dances: held-out windows that are danced to.

        Raises:
            InvalidInput: the dances do not have the value that the recipe selects weights by.
            InvalidArtifact: the in-betweener's weights cannot be used.
        """
        self._parts = parts
        super().__init__(recipe, config, windows, validation, dances)

    def check(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse the checkpoint of another model, of one trained on other data, or of other tokens."""
        super().check(state, path)
        assert isinstance(self.config, CompositeConfig)
        refuse_other_tokens(state, self.config, path)

    def _initialise(self) -> None:
        """Take tokeniser and language model as they are, and the U-Net from where it learns on."""
        network, (tokenizer, gpt) = self.network, self._parts
        assert isinstance(network, CompositeNetwork)
        if self.recipe.in_betweener is None:
            super()._initialise()
        else:
            before = _in_betweener(self.recipe.in_betweener)
            network.conditioner.load_state_dict(before.conditioner.state_dict())
            network.denoiser.load_state_dict(before.denoiser.state_dict())
        network.tokenizer.load_state_dict(tokenizer.state_dict())
        network.gpt.load_state_dict(gpt.state_dict())
        network.freeze_plan()

    def _make_objective(self, noising: Noising, loss: MotionLoss, ema: Ema) -> Objective:
        """Denoising with given poses like those that are planned."""
        assert isinstance(self.network, CompositeNetwork)
        motion = representation(self.config.spec.representation)
        return KeyPoseDenoising(Denoising(noising, loss), self.network.tokenizer, self.recipe.key_poses, motion)


def _windows(recipe: CompositeRecipe, data: TrainingData, options: TrainConfig) -> tuple[Windows, Windows | None]:
    """Windows of the tokeniser's and the language model's length, and held-out ones."""
    cut = partial(
        Windows,
        music_dim=recipe.music_dim,
        window=recipe.plan_window,
        rhythm_channels=recipe.denoiser.rhythm_channels,
    )
    hidden = WindowOptions(prior=0.0, known=0.0)
    training = cut(data.training, data.texts, num_windows(options), options.seed, hidden)
    if not data.held_out:
        return training, None
    return training, cut(data.held_out, data.texts, VALIDATION_WINDOWS, options.seed + 1, hidden)


def _in_betweener(checkpoint: Path) -> UNetModel:
    """The U-Net that learns on.

    Raises:
        InvalidInput: there is none.
    """
    try:
        network = load_generator(checkpoint)
    except InvalidArtifact as error:
        raise InvalidInput("in_betweener", str(error)) from error
    if not isinstance(network, UNetModel):
        raise InvalidInput("in_betweener", f"must be a U-Net, and {network.spec.name} is {network.spec.family}")
    return network
