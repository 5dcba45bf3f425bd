"""The application as Ray Serve's configuration files name it: `import_path: serving.ray.application:build`.

KubeRay's RayService and `serve deploy` start it so. Settings come from the environment of the cluster's nodes.
"""

from collections.abc import Mapping
from typing import Any

from ray import serve

from choreo.errors import InvalidInput
from serving.ray.app import serve_app
from serving.settings import Settings


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The deployments, behind Ray's proxies, on Triton servers that others run.

    Args:
        arguments: `args` of the application in the configuration. There are none, because every process of the
            cluster reads the same environment.

    Raises:
        InvalidInput: there are arguments, a setting cannot be used, or `CHOREO_TRITON_URL` is not set: a node of a
            cluster may be replaced at any time, so no Triton is started on it.
    """
    if arguments:
        name = str(next(iter(arguments)))[:64]
        raise InvalidInput(f"args.{name}", "is not known; set environment variables of the nodes instead")
    settings = Settings()
    if not settings.triton_url:
        raise InvalidInput("CHOREO_TRITON_URL", "must name the Triton servers of the cluster")
    return serve_app(settings, settings.triton_url)
