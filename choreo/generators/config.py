"""What `config.json` of a checkpoint holds."""

from pydantic import BaseModel, ConfigDict

from choreo.generators.spec import GeneratorSpec


class Distilled(BaseModel):
    """What a distilled generator has learned, so that it need not be asked for.

    Attributes:
        teacher: name of the generator whose paths it learned.
        guidance_scale: classifier-free guidance that its weights answer with; requests use a scale of 1.
        guidance_low: lowest noise, t / T, at which its teacher was guided.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    teacher: str
    guidance_scale: float
    guidance_low: float = 0.0


class GeneratorConfig(BaseModel):
    """Everything needed to build a generator without its weights; families add their networks' sizes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    spec: GeneratorSpec
    distilled: Distilled | None = None

    def statistics(self) -> dict[str, tuple[float, ...]]:
        """Statistics of the training data, by name."""
        return {"mean": self.spec.mean, "std": self.spec.std}
