"""The protocol's endpoints under their own prefix, for every served generator."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, Final

from motionmcp import Backbone, GenerateRequest, ModelSpec, MotionResult, build_app
from motionmcp.backbone import Limits
from motionmcp.schemas import ModelOption
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from choreo.diffusion.presets import PRESETS
from choreo.errors import ChoreoError
from choreo.generators.spec import GeneratorSpec
from serving.http.mmcp.answering import told_error, told_motion
from serving.http.mmcp.asking import asked_values
from serving.http.mmcp.skeleton import canonical_skeleton
from serving.pipeline.results import Result
from serving.settings import Settings

log = logging.getLogger(__name__)

PREFIX: Final = "/mmcp"
MAX_BODY: Final = 4 << 20
"""Bytes of a request: key poses are the largest thing in it."""
MAX_SAMPLES: Final = 16
OPTIONS: Final = (
    ModelOption(name="preset", type="enum", values=list(PRESETS), default="fast", title="Quality",
                description="How many denoising steps, and by which sampler; diffusion_steps overrides it."),
)  # fmt: skip
"""What the protocol has no word for. It knows no music, so a tempo would be of no use."""

Dance = Callable[[Request, Sequence[dict[str, Any]]], Awaitable[list[Result]]]
"""Makes a dance of each request's values, unless the caller leaves."""

_http: ContextVar[Request] = ContextVar("_http")
"""The request that is being answered."""


class Mmcp:
    """ASGI application of the protocol. Its models are those that are served when a request arrives.

    Args:
        settings: limits.
        models: generators by name.
        dance: makes motion.
    """

    def __init__(
        self, settings: Settings, models: Callable[[], Awaitable[dict[str, GeneratorSpec]]], dance: Dance
    ) -> None:
        self._settings, self._models, self._dance = settings, models, dance
        self._served: dict[str, GeneratorSpec] = {}
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        served = await self._models()
        if self._app is None or served != self._served:
            backbones = {name: _Generator(spec, self._settings, self._dance) for name, spec in served.items()}
            self._app, self._served = build_app(backbones, title="choreo"), served
        token = _http.set(Request(scope, receive))
        try:
            await self._app(scope, receive, send)
        finally:
            _http.reset(token)


class _Generator(Backbone):
    """One served generator as the protocol sees it."""

    def __init__(self, spec: GeneratorSpec, settings: Settings, dance: Dance) -> None:
        self.model_id = spec.name
        self._spec, self._dance = spec, dance
        self._capabilities = _capabilities(spec, settings)

    def capabilities(self) -> ModelSpec:
        """What it takes, and within which limits."""
        return self._capabilities

    async def generate(self, request: GenerateRequest) -> MotionResult:
        """All samples of a request.

        Raises:
            ProtocolError: it asks for what is not to be had, or the dance failed.
        """
        values = asked_values(request, self._spec.fps)
        try:
            results = await self._dance(_http.get(), values)
        except ClientDisconnect:
            raise
        except Exception as error:
            if not isinstance(error, ChoreoError):
                log.exception("request %s failed", _http.get().state.request_id)
            raise told_error(error) from error
        return told_motion(results, request.total_frames)


def _capabilities(spec: GeneratorSpec, settings: Settings) -> ModelSpec:
    window = spec.window / spec.fps
    return ModelSpec(
        id=spec.name,
        fps=spec.fps,
        canonical_skeleton=canonical_skeleton(),
        supports_loop=True,
        supported_constraints=["root_path", "pose_keyframe"],
        supported_guidance_types=["nocfg", "regular"],
        model_options=list(OPTIONS),
        native_clip_seconds=window,
        chunking="stitched",
        recommended_max_duration_seconds=settings.max_seconds,
        limits=Limits(
            max_duration_seconds=settings.max_seconds,
            max_num_samples=MAX_SAMPLES,
            max_prompt_length=settings.max_text_chars,
            max_request_bytes=min(MAX_BODY, settings.max_body_bytes),
        ),
    )
