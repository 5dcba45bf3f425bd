"""What a diffusion generator says in its spec's `parameters`."""

from pydantic import BaseModel, ConfigDict, Field

from choreo.diffusion.schedule import NoiseSchedule, Prediction, ScheduleName
from choreo.errors import InvalidArtifact
from choreo.generators.spec import GeneratorSpec


class DiffusionParameters(BaseModel):
    """Schedule of the forward process, and what the network predicts."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prediction: Prediction = Prediction.X0
    schedule: ScheduleName = ScheduleName.COSINE
    num_train_timesteps: int = Field(1000, ge=1, le=100_000)

    @classmethod
    def of(cls, spec: GeneratorSpec) -> "DiffusionParameters":
        """Those of a spec.

        Raises:
            InvalidArtifact: they are broken.
        """
        try:
            return cls.model_validate(spec.parameters)
        except ValueError as error:
            raise InvalidArtifact(f"{spec.name}: the parameters of its spec are broken: {error}") from error

    def noise_schedule(self) -> NoiseSchedule:
        """The variances of the forward process."""
        return NoiseSchedule.make(self.schedule, self.num_train_timesteps)
