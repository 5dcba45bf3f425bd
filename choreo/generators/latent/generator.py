"""The latent family: what the registry finds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from choreo.diffusion.parameters import DiffusionParameters
from choreo.errors import InvalidArtifact
from choreo.generators.base import Conditioning, GenerationRequest, Generator, NotForThisModel, RowCache, Trajectory
from choreo.generators.latent.graphs import DECODER, DENOISER, ENCODER, FAMILY, OVERLAP, LatentScale, latent_spec
from choreo.generators.latent.trajectory import LatentTrajectory, Tokens
from choreo.generators.spec import GeneratorSpec
from choreo.motion.representation import representation

if TYPE_CHECKING:
    from choreo.generators.base import Stage
    from choreo.generators.config import GeneratorConfig
    from choreo.generators.network import GeneratorNetwork
    from choreo.training.loop import Task
    from choreo.training.recipe import GeneratorRecipe
    from choreo.training.windowed import TrainingData


class LatentGenerator(Generator):
    """Diffusion over the latent tokens of a motion VAE."""

    family: ClassVar[str] = FAMILY

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__(spec)
        parameters = DiffusionParameters.of(spec)
        for name in (ENCODER, DENOISER, DECODER):
            if not any(graph.name == name for graph in spec.graphs):
                raise InvalidArtifact(f"{spec.name}: its spec has no graph {name!r}; export a whole checkpoint again")
        motion = representation(spec.representation)
        if spec.channels != motion.channels:
            raise InvalidArtifact(
                f"{spec.name}: its VAE has {spec.channels} channels, but {motion.name} has {motion.channels}; train a "
                "VAE of that representation"
            )
        tokens, channels = spec.graph(DENOISER).input_shapes.get("x", (1, 0))[:2]
        rhythm = spec.graph(DENOISER).input_shapes.get("rhythm", (0,))[-1]
        scale = LatentScale.needed(spec)
        if len(scale.latent_std) != channels:
            raise InvalidArtifact(f"{spec.name}: its latents have {channels} channels, {len(scale.latent_std)} scaled")
        expected = latent_spec(
            spec.name,
            mean=spec.mean,
            std=spec.std,
            window=spec.window,
            tokens=tokens,
            channels=channels,
            music_dim=spec.music_dim,
            text_dim=spec.text_dim,
            rhythm_channels=rhythm,
            parameters=parameters,
        )
        for graph in expected.graphs:
            found = spec.graph(graph.name)
            if (found.input_shapes, found.output_shapes) != (graph.input_shapes, graph.output_shapes):
                raise InvalidArtifact(f"{spec.name}: the tensors of its {graph.name} are not those of this family")
        overlap = spec.parameters.get(OVERLAP)
        if not isinstance(overlap, int) or not 0 <= overlap <= tokens // 2:
            raise InvalidArtifact(f"{spec.name}: its windows must share 0 to {tokens // 2} tokens, not {overlap!r}")
        self.tokens = Tokens(tokens, channels, spec.window // tokens, overlap)
        self.rhythm_channels = rhythm

    def begin(
        self, request: GenerationRequest, conditioning: Conditioning, cache: RowCache | None = None
    ) -> Trajectory:
        """Encode what is given, denoise, and decode.

        Raises:
            InvalidInput: unknown sampler, or see `choreo.generators.given_frames`.
            NotForThisModel: the motion is longer than a window of which neighbours share no tokens.
        """
        if conditioning.num_frames > self.spec.window and not self.tokens.overlap:
            raise NotForThisModel(
                "duration",
                f"must be at most {self.spec.window / self.spec.fps:.2f} s for the model {self.spec.name}, whose "
                "latent is of one window",
            )
        return LatentTrajectory(self.spec, self.tokens, self.rhythm_channels, request, conditioning)

    @classmethod
    def recipe_type(cls) -> "type[GeneratorRecipe]":
        """Sizes of VAE and denoiser, and how each is trained."""
        from choreo.generators.latent.recipe import LatentRecipe

        return LatentRecipe

    @classmethod
    def task(cls, recipe: Any, data: "TrainingData") -> "Task":
        """The first of the `stages`, the VAE; the denoiser needs what it makes."""
        from choreo.generators.latent.training import vae_task

        return vae_task(recipe, data)

    @classmethod
    def stages(cls, recipe: Any, data: "TrainingData") -> "Sequence[Stage]":
        """The VAE, then the denoiser of its latents."""
        from choreo.generators.latent.training import latent_stages

        return latent_stages(recipe, data)

    @classmethod
    def config_type(cls) -> "type[GeneratorConfig]":
        """VAE, denoiser and the statistics of the music."""
        from choreo.generators.latent.config import LatentConfig

        return LatentConfig

    @classmethod
    def network(cls, config: Any) -> "GeneratorNetwork":
        """A network with new weights."""
        from choreo.generators.latent.model import LatentNetwork

        return LatentNetwork(config)

    @classmethod
    def untrained(cls, trained: Any) -> "GeneratorNetwork":
        """The VAE as it was trained, and a denoiser that has learned nothing."""
        blank = cls.network(trained.config)
        for part in (ENCODER, DECODER):
            getattr(blank, part).load_state_dict(getattr(trained, part).state_dict())
        return blank
