"""Optional dependencies of the commands: one that lacks them says which extra to install."""

from importlib.util import find_spec
from typing import Final, Literal

from choreo.errors import MissingDependency

Extra = Literal["cpu", "serve", "train", "loadtest"]

EXTRAS: Final[dict[Extra, tuple[str, ...]]] = {
    "cpu": ("onnxruntime", "faiss"),
    "serve": ("ray", "fastapi", "uvicorn", "python_multipart", "prometheus_client", "psutil"),
    "train": ("accelerate", "yaml", "tensorboard", "matplotlib"),
    "loadtest": ("locust", "matplotlib"),
}
"""Modules that are imported of each extra. `gpu` has those of `cpu`, built for NVIDIA devices. The Triton server of
`serve` is not among them: with --triton-url none is started here, and who starts one asks for it."""


def require(*extras: Extra) -> None:
    """Check that everything of these extras is installed.

    Raises:
        MissingDependency: a module is not; the message has the command that installs its extra.
    """
    for extra in extras:
        missing = [name for name in EXTRAS[extra] if not installed(name)]
        if missing:
            raise MissingDependency(f"not installed: {', '.join(missing)}; {how_to_install(extra)}")


def installed(module: str) -> bool:
    """Whether a top-level module can be imported; it is not."""
    return find_spec(module) is not None


def how_to_install(extra: Extra) -> str:
    """The command that installs an extra."""
    command = f"pip install 'choreo[{extra}]'"
    return f"{command}, or 'choreo[gpu]' for an NVIDIA device (never both)" if extra == "cpu" else command
