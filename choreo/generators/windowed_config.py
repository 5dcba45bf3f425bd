"""What a checkpoint of a conditioner and a denoiser over windows holds, and whether its parts fit one another."""

from typing import Protocol

from choreo.diffusion.parameters import DiffusionParameters
from choreo.generators.config import GeneratorConfig
from choreo.generators.spec import GraphSpec
from choreo.generators.windowed_spec import windowed_spec
from choreo.models.conditioner_config import ConditionerConfig


class DenoiserSizes(Protocol):
    """What every denoiser over windows has among its sizes."""

    @property
    def channels(self) -> int:
        """Of a frame of motion."""
        ...

    @property
    def rhythm_channels(self) -> int:
        """Of `choreo.music.beats.beat_phase_channels`, from the first one on."""
        ...

    @property
    def context_dim(self) -> int:
        """Of a token of the conditioner."""
        ...


class WindowedConfig(GeneratorConfig):
    """A conditioner, and the statistics of the music that it normalises by; subclasses have the `denoiser`."""

    conditioner: ConditionerConfig
    music_mean: tuple[float, ...]
    music_std: tuple[float, ...]

    def statistics(self) -> dict[str, tuple[float, ...]]:
        """Those of the motion and of the music."""
        return super().statistics() | {"music_mean": self.music_mean, "music_std": self.music_std}


def check_networks(config: WindowedConfig, denoiser: DenoiserSizes) -> None:
    """Check that the graphs of the spec are those of the networks, tensor by tensor and in the same order.

    Raises:
        ValueError: they are not, or the networks do not fit each other or the statistics.
    """
    spec, conditioner = config.spec, config.conditioner
    if spec.channels != denoiser.channels:
        raise ValueError(f"the spec has {spec.channels} channels, its network {denoiser.channels}")
    if spec.window != conditioner.window:
        raise ValueError(f"the spec has a window of {spec.window} frames, its network of {conditioner.window}")
    if denoiser.context_dim != conditioner.context_dim:
        raise ValueError(
            f"context_dim is {conditioner.context_dim} in one network, {denoiser.context_dim} in the other"
        )
    found = {graph.name: _tensors(graph) for graph in spec.graphs}
    for graph in _graphs(config, denoiser):
        if found.get(graph.name) != _tensors(graph):
            raise ValueError(
                f"the spec gives the {graph.name} {found.get(graph.name)}, its network has {_tensors(graph)}"
            )
    if not len(config.music_mean) == len(config.music_std) == conditioner.music_dim:
        raise ValueError(f"music_mean and music_std must have {conditioner.music_dim} entries")


def _graphs(config: WindowedConfig, denoiser: DenoiserSizes) -> tuple[GraphSpec, ...]:
    """The graphs of these networks."""
    spec, conditioner, parameters = config.spec, config.conditioner, DiffusionParameters.of(config.spec)
    return windowed_spec(
        spec.name,
        family=spec.family,
        mean=spec.mean,
        std=spec.std,
        window=conditioner.window,
        context_dim=conditioner.context_dim,
        context_tokens=conditioner.context_tokens,
        music_dim=conditioner.music_dim,
        text_dim=conditioner.text_dim,
        rhythm_channels=denoiser.rhythm_channels,
        prediction=parameters.prediction,
        schedule=parameters.schedule,
        num_train_timesteps=parameters.num_train_timesteps,
    ).graphs


def _tensors(graph: GraphSpec) -> list[tuple[str, tuple[int, ...]]]:
    """Names and shapes of a graph's tensors in order, inputs before outputs."""
    return [(tensor.name, tensor.shape) for tensor in (*graph.inputs, *graph.outputs)]
