"""The studio at `/studio`: a page of static files, which asks the same interface as every other client.

The files lie in `serving/studio` and are read once. Nothing of them depends on a model, so the page is there as soon as
the ingress is. The browser may fetch from this server only; the policy in the headers says so.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from choreo.diffusion.presets import PRESETS
from choreo.motion.formats.formats import FORMATS
from serving.http.openapi import version
from serving.http.problems import HttpProblem
from serving.settings import Settings

FOLDER: Final = Path(__file__).parents[1] / "studio"
PATH: Final = "/studio"
PAGE: Final = "index.html"
MEDIA_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Songs are played from the user's own file (`blob:`); nothing else comes from anywhere but this server."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True)
class StudioFile:
    """A file of the page; the tag changes with its content."""

    content: bytes
    media_type: str
    tag: str


@cache
def studio_files() -> dict[str, StudioFile]:
    """All files of the page by name."""
    files = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in MEDIA_TYPES:
            content = path.read_bytes()
            tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            files[path.name] = StudioFile(content, MEDIA_TYPES[path.suffix], tag)
    return files


def is_open(path: str) -> bool:
    """Whether a path is one of the page, which is shown without an API key; what it asks for is not."""
    return path == PATH or path.startswith(f"{PATH}/")


def about(settings: Settings, needs_key: bool) -> dict[str, Any]:
    """What the page must know before it may ask anything that needs a key."""
    formats = [{"name": fmt.name, "suffix": fmt.suffix, "needs_audio": fmt.needs_audio} for fmt in FORMATS]
    return {
        "version": version(),
        "needs_key": needs_key,
        "formats": formats,
        "presets": list(PRESETS),
        "max_seconds": settings.max_seconds,
        "max_body_bytes": settings.max_body_bytes,
    }


def add_studio(app: FastAPI, settings: Settings, needs_key: bool) -> None:
    """Add the routes of the page, which are no part of the interface for programs."""
    document = about(settings, needs_key)

    @app.api_route(PATH, methods=["GET", "HEAD"], include_in_schema=False)
    async def page(request: Request) -> Response:
        """The page."""
        return _answer(request, PAGE)

    @app.get(f"{PATH}/about.json", include_in_schema=False)
    async def about_server() -> Response:
        """Formats, presets and limits of this server."""
        return JSONResponse(document, headers=HEADERS)

    @app.api_route(f"{PATH}/{{name}}", methods=["GET", "HEAD"], include_in_schema=False)
    async def file(request: Request, name: str) -> Response:
        """A file of the page."""
        return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    found = studio_files().get(name)
    if found is None:
        raise HttpProblem(HTTPStatus.NOT_FOUND, "not-found", "there is no such file of the studio", "name")
    headers = HEADERS | {"ETag": found.tag}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(found.content, headers=headers, media_type=found.media_type)
