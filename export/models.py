"""A checkpoint's graphs as files: exported, compared with torch, and compiled where they can be."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from choreo.errors import InvalidArtifact, MissingDependency
from choreo.generators.checkpoint import load_generator
from choreo.generators.network import GeneratorNetwork
from choreo.generators.registry import generator_class
from choreo.generators.sample_inputs import sample_inputs
from choreo.generators.spec import GeneratorSpec
from export.model_config import Profile
from export.native.package import build_native
from export.native.parity_key import native_key
from export.native.program import CannotLower
from export.onnx_graphs import export_graphs
from export.precision import Precision

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportedModels:
    """Files of one generator.

    Attributes:
        spec: the generator's contract.
        graphs: ONNX file of each graph.
        native: files of the compiled engines by graph; none where one cannot be had.
        parity: largest difference from torch by graph or engine, and by batch size.
    """

    spec: GeneratorSpec
    graphs: Mapping[str, Path]
    native: Mapping[str, Sequence[Path]]
    parity: dict[str, dict[str, float]]


def exported_models(checkpoint: Path, folder: Path, profile: Profile, precision: Precision) -> ExportedModels:
    """Write the models of a checkpoint into a folder.

    Raises:
        InvalidArtifact: the checkpoint is broken or its graphs differ from torch.
    """
    network = load_generator(checkpoint)
    graphs = export_graphs(network, folder, precision, fused=profile is Profile.CPU)
    parity = {g.name: {str(batch): error for batch, error in g.parity.items()} for g in graphs}
    native: dict[str, Sequence[Path]] = {}
    if profile is Profile.CPU and precision is Precision.FLOAT32:
        native = _native(network, folder, parity)
    return ExportedModels(network.spec, {graph.name: graph.path for graph in graphs}, native, parity)


def _native(network: GeneratorNetwork, scratch: Path, parity: dict[str, dict[str, float]]) -> dict[str, Sequence[Path]]:
    """Files of the compiled engines by graph, and their differences among the others'; none where one cannot be had."""
    built: dict[str, Sequence[Path]] = {}
    for name, lowering in generator_class(network.spec.family).lowerings.items():
        graph = network.spec.graph(name)
        try:
            package = build_native(
                network.graphs()[name],
                graph.input_shapes,
                graph.output_shapes,
                scratch / f"{name}-native",
                partial(sample_inputs, graph),
                lowering,
            )
        except (MissingDependency, CannotLower, InvalidArtifact) as error:
            _logger.warning("the %s of %s is evaluated by ONNX Runtime, because %s", name, network.spec.name, error)
            continue
        parity[native_key(network.spec, name)] = {str(rows): error for rows, error in package.parity.items()}
        built[name] = package.files
    return built
