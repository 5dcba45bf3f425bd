"""The composite family: what the registry finds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from choreo.errors import InvalidArtifact
from choreo.generators.base import Conditioning, GenerationRequest, NotForThisModel, RowCache
from choreo.generators.composite.graphs import DECODER, FAMILY, GPT, MAX_POSITIONS, PlanParameters, plan_graphs
from choreo.generators.composite.trajectory import CompositeTrajectory
from choreo.generators.spec import GeneratorSpec
from choreo.generators.windowed import DENOISER, WindowedDiffusion
from choreo.models.tokenizer_config import TOKEN_FRAMES

if TYPE_CHECKING:
    from choreo.generators.base import Stage
    from choreo.generators.config import GeneratorConfig
    from choreo.generators.network import GeneratorNetwork
    from choreo.training.loop import Task
    from choreo.training.recipe import GeneratorRecipe
    from choreo.training.windowed import TrainingData


class CompositeGenerator(WindowedDiffusion):
    """Key poses by a language model of motion tokens, and a U-Net that dances between them."""

    family: ClassVar[str] = FAMILY
    lowerings: ClassVar[Mapping[str, str]] = {DENOISER: "unet"}

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__(spec)
        self.planning = PlanParameters.of(spec)
        for name in (GPT, DECODER):
            if not any(graph.name == name for graph in spec.graphs):
                raise InvalidArtifact(f"{spec.name}: its spec has no graph {name!r}; export a whole checkpoint again")
        if missing := {"known", "known_mask"} - self.denoiser.input_shapes.keys():
            raise InvalidArtifact(f"{spec.name}: its denoiser has no input {min(missing)!r}, which key poses need")
        self._check_plan()

    def begin(
        self, request: GenerationRequest, conditioning: Conditioning, cache: RowCache | None = None
    ) -> CompositeTrajectory:
        """Draw tokens for the whole length, decode them, and denoise between their key poses.

        Raises:
            InvalidInput: unknown sampler, or see `choreo.generators.given_frames`.
            NotForThisModel: the motion is too long to be planned.
        """
        count = -(-conditioning.num_frames // TOKEN_FRAMES)
        if count > MAX_POSITIONS:
            longest = MAX_POSITIONS * TOKEN_FRAMES / self.spec.fps
            raise NotForThisModel("duration", f"must be at most {longest:.0f} s for the model {self.spec.name}")
        return CompositeTrajectory(self, request, conditioning, cache, count, count)

    @classmethod
    def recipe_type(cls) -> "type[GeneratorRecipe]":
        """Sizes of tokeniser, language model and U-Net, and how each is trained."""
        from choreo.generators.composite.recipe import CompositeRecipe

        return CompositeRecipe

    @classmethod
    def task(cls, recipe: Any, data: "TrainingData") -> "Task":
        """The first of the `stages`, the tokeniser; the others need what those before them make."""
        from choreo.generators.composite.training import tokenizer_task

        return tokenizer_task(recipe, data)

    @classmethod
    def stages(cls, recipe: Any, data: "TrainingData") -> "Sequence[Stage]":
        """The tokeniser, the language model of its tokens, and the U-Net between key poses."""
        from choreo.generators.composite.training import composite_stages

        return composite_stages(recipe, data)

    @classmethod
    def config_type(cls) -> "type[GeneratorConfig]":
        """Tokeniser, language model, U-Net and the statistics of the music."""
        from choreo.generators.composite.config import CompositeConfig

        return CompositeConfig

    @classmethod
    def network(cls, config: Any) -> "GeneratorNetwork":
        """A network with new weights."""
        from choreo.generators.composite.model import CompositeNetwork

        return CompositeNetwork(config)

    @classmethod
    def untrained(cls, trained: Any) -> "GeneratorNetwork":
        """A linear denoiser between key poses of a language model that has learned nothing, with its tokeniser."""
        blank = super().untrained(trained)
        getattr(blank, "tokenizer").load_state_dict(trained.tokenizer.state_dict())  # noqa: B009
        return blank

    def _check_plan(self) -> None:
        """Check that the tensors of the two graphs that plan are those of this family.

        Raises:
            InvalidArtifact: they are not.
        """
        spec, gpt = self.spec, self.spec.graph(GPT)
        entries, context, width = (*gpt.input_shapes.get("cache", ()), 0, 0, 0)[:3]
        expected = plan_graphs(
            codes=max(gpt.output_shapes.get("logits", (0,))[0] - 1, 1),
            width=max(width, 1),
            layers=max(entries // 2, 1),
            context=max(context, 1),
            channels=spec.channels,
            music_dim=spec.music_dim,
            text_dim=spec.text_dim,
            rhythm_channels=self.rhythm_channels,
        )
        for graph in expected:
            found = spec.graph(graph.name)
            if (found.input_shapes, found.output_shapes) != (graph.input_shapes, graph.output_shapes):
                raise InvalidArtifact(f"{spec.name}: the tensors of its {graph.name} are not those of this family")
