"""The duet family: what the registry finds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from choreo.errors import InvalidArtifact
from choreo.generators.base import Conditioning, GenerationRequest, Generator, NotForThisModel, RowCache, Trajectory
from choreo.generators.duet.graphs import FAMILY, FOLLOWER, LOOK_AHEAD, duet_spec
from choreo.generators.duet.trajectory import DuetTrajectory, leader_positions
from choreo.generators.spec import GeneratorSpec

if TYPE_CHECKING:
    from choreo.generators.base import Stage
    from choreo.generators.config import GeneratorConfig
    from choreo.generators.network import GeneratorNetwork
    from choreo.training.loop import Task
    from choreo.training.recipe import GeneratorRecipe


class DuetGenerator(Generator):
    """Makes the second dancer of a couple, frame by frame, from the first one."""

    family: ClassVar[str] = FAMILY
    learns_couples: ClassVar[bool] = True

    def __init__(self, spec: GeneratorSpec) -> None:
        super().__init__(spec)
        look_ahead = spec.parameters.get(LOOK_AHEAD)
        names = [graph.name for graph in spec.graphs]
        if names != [FOLLOWER] or not isinstance(look_ahead, int) or not 0 <= look_ahead <= 90:
            raise InvalidArtifact(f"{spec.name}: its spec is not that of a duet generator; export the checkpoint again")
        noise = spec.graph(FOLLOWER).input_shapes.get("noise", (0, 1))[-1]
        if spec.graphs != duet_spec(spec.name, spec.window, look_ahead, noise).graphs:
            raise InvalidArtifact(f"{spec.name}: the tensors of its graph are not those of this family")
        self.look_ahead, self.noise = look_ahead, noise

    def begin(
        self, request: GenerationRequest, conditioning: Conditioning, cache: RowCache | None = None
    ) -> Trajectory:
        """A frame of the follower at a time.

        Raises:
            NotForThisModel: there is no leader, or something is given that duets do not know.
            InvalidInput: the leader is too short.
        """
        name = self.spec.name
        if request.start is not None or request.constraints:
            field = "start" if request.start is not None else "constraints"
            raise NotForThisModel(field, f"cannot be kept to by the model {name}, which follows a leader")
        if request.leader is None:
            raise NotForThisModel("leader", f"is needed by the model {name}: send the motion of the first dancer")
        leader = leader_positions(request.leader)[: conditioning.num_frames]
        return DuetTrajectory(self.spec, self.look_ahead, self.noise, leader, request)

    @classmethod
    def recipe_type(cls) -> "type[GeneratorRecipe]":
        """Sizes of the network, and how couples are varied."""
        from choreo.generators.duet.recipe import DuetRecipe

        return DuetRecipe

    @classmethod
    def task(cls, recipe: Any, data: Any) -> "Task":
        """A network that learns what a follower does next, from `choreo.data.couples.CoupleSplits`."""
        from choreo.data.splits.split import HELD_OUT, TRAINING
        from choreo.generators.duet.training import DuetTask

        return DuetTask(recipe, data.parts.get(TRAINING, ()), data.parts.get(HELD_OUT, ()))

    @classmethod
    def stages(cls, recipe: Any, data: Any) -> "Sequence[Stage]":
        """One."""
        from choreo.generators.base import Stage

        return [Stage("", recipe.train.max_steps, lambda folder: cls.task(recipe, data))]

    @classmethod
    def config_type(cls) -> "type[GeneratorConfig]":
        """Sizes and statistics."""
        from choreo.generators.duet.config import DuetConfig

        return DuetConfig

    @classmethod
    def network(cls, config: Any) -> "GeneratorNetwork":
        """A network with new weights."""
        from choreo.generators.duet.model import DuetNetwork

        return DuetNetwork(config)
