"""Versions of the program and of what it runs on."""

import importlib.metadata
import platform

PACKAGES = ("choreo", "torch", "onnxruntime", "ray", "nvidia-pytriton", "tritonclient", "faiss-cpu", "librosa", "numpy")


def versions() -> dict[str, str]:
    """Versions of what made the result; packages that are not installed are left out."""
    out = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return out
