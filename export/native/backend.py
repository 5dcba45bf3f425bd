"""Serves the compiled engine as a backend of Triton's own, without Python between the server and the engine.

An exported repository is portable: its Python backend takes whichever engine fits the machine. A server on this machine
is given another repository, with links to the same models, in which those with a usable compiled engine are served by
triton_backend.cpp.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from export.engine_options import EngineOptions
from export.native import loader
from export.triton_config import TritonModelConfig, render

BACKEND: Final = "choreo"
LIBRARY: Final = f"libtriton_{BACKEND}.so"
LAYOUT: Final = "engine.txt"
CALLS: Final = 2
"""Calls in the engine at the same time: one is divided over all cores, the next one fills the gaps at its end."""

_logger = logging.getLogger(__name__)


def link_model(root: Path, config: TritonModelConfig, folder: Path) -> None:
    """Put a model of the repository `root` into `folder`, which a server on this machine is given.

    It is a link, or where a compiled engine fits this machine, a model of this backend with links to the engine's
    files. Otherwise it has as many instances as suit this machine, if its configuration leaves that open. `folder` has
    to stay as long as the server.
    """
    manifest = _manifest(root / config.name / "1", config)
    if manifest is not None:
        _link(root / config.name / "1", folder / config.name, config, manifest)
        return
    here = _for_this_machine(config)
    if here == config:
        (folder / config.name).symlink_to(root / config.name, target_is_directory=True)
        return
    (folder / config.name).mkdir()
    (folder / config.name / "1").symlink_to(root / config.name / "1", target_is_directory=True)
    (folder / config.name / "config.pbtxt").write_text(render(here), encoding="utf-8")


def _for_this_machine(config: TritonModelConfig) -> TritonModelConfig:
    """The configuration with the number of instances that its engine's options mean here."""
    if config.backend != "python":
        return config
    count = EngineOptions.from_parameters(config.parameters).instance_count()
    groups = tuple(group.model_copy(update={"count": count}) for group in config.instance_groups)
    return config.model_copy(update={"instance_groups": groups})


def _manifest(version: Path, config: TritonModelConfig) -> dict[str, Any] | None:
    """The manifest of a model's compiled engine, if the engine is wanted and can be used."""
    options = EngineOptions.from_parameters(config.parameters)
    if config.backend != "python" or options.runtime == "onnxruntime" or not loader.exists(version):
        return None
    try:
        return loader.check(version)
    except loader.NativeUnavailable as error:
        _logger.warning("%s is served by ONNX Runtime, because %s", config.name, error)
        return None


def _link(version: Path, model: Path, config: TritonModelConfig, manifest: Mapping[str, Any]) -> None:
    (model / "1").mkdir(parents=True)
    (model / "1" / LIBRARY).symlink_to(version / manifest["library"]["file"])
    tensors = [("input", *tensor) for tensor in manifest["inputs"]] + [("output", *manifest["output"])]
    workers = EngineOptions.from_parameters(config.parameters).workers()
    lines = [f"program {version / manifest['program']['file']}", f"workers {workers}"]
    lines += [" ".join(map(str, (role, name, *shape))) for role, name, shape in tensors]
    (model / "1" / LAYOUT).write_text("\n".join(lines) + "\n", encoding="utf-8")
    groups = tuple(group.model_copy(update={"count": CALLS}) for group in config.instance_groups)
    served = config.model_copy(update={"backend": BACKEND, "instance_groups": groups})
    (model / "config.pbtxt").write_text(render(served), encoding="utf-8")
