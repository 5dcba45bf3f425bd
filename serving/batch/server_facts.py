"""What motions depend on at a running server, as far as it tells: its generators and its phrase library."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Final

from choreo.client import AsyncClient, Version
from choreo.errors import BackendUnavailable, NotFound

MIN_PATIENCE_S: Final = 10.0
"""Time for the questions before a run, however impatient it is."""


@dataclass(frozen=True)
class ServerFacts:
    """Facts about a server.

    Attributes:
        models: documents of the served generators, the default one first; see `GET /v1/models`.
        library: document of the phrase library; None where there is none.
        version: versions of the program and its packages, which may change during a run; None from a server that does
            not tell them.
        named: generators that the catalog names; the default one counts without that.
    """

    models: tuple[dict[str, Any], ...]
    library: dict[str, Any] | None
    version: Version | None
    named: frozenset[str] = frozenset()

    def configuration(self) -> dict[str, Any]:
        """What the motions of the catalog depend on, by the name of the option that decides it elsewhere."""
        counting = [model for i, model in enumerate(self.models) if i == 0 or model["name"] in self.named]
        fixed = [{name: value for name, value in model.items() if name != "default"} for model in counting]
        return {"model": fixed, "phrases": None if self.library is None else self.library["version"]}

    def changed(self, now: "ServerFacts") -> str:
        """The first thing that motions depend on and that is another one now; empty if there is none."""
        before, after = self.configuration(), replace(now, named=self.named).configuration()
        return next((name for name, value in before.items() if after[name] != value), "")

    def made(self, meta: dict[str, Any]) -> bool:
        """Whether a motion with such metadata can come from a server like this: libraries may change while it runs."""
        prior = meta.get("prior")
        found = prior.get("library") if isinstance(prior, dict) else None
        return not found or (self.library is not None and str(self.library["version"]).startswith(found))

    def document(self, url: str) -> dict[str, Any]:
        """Their entry in run.json."""
        known = None if self.version is None else {"version": self.version.version, "versions": self.version.versions}
        return {"url": url, "version": known}


async def facts_of(client: AsyncClient) -> ServerFacts:
    """Ask a server.

    Raises:
        BackendUnavailable: it serves no generator at the moment, or does not answer.
        ChoreoError: it refuses to answer, or is no choreo server.
    """
    models = tuple(model.model_dump() for model in await client.models())
    if not models:
        raise BackendUnavailable(f"{client.url} serves no generator at the moment")
    library = await client.library()
    try:
        version = await client.version()
    except NotFound:
        version = None
    return ServerFacts(models, None if library is None else library.model_dump(), version)


def ask(url: str, patience_s: float, named: frozenset[str]) -> ServerFacts:
    """Ask a server, which may be busy for a while, before a run whose catalog names some generators.

    Raises:
        InvalidInput: the address or the key cannot be used.
        ChoreoError: as `facts_of`.
    """

    async def asked() -> ServerFacts:
        async with AsyncClient(url, timeout_s=max(patience_s, MIN_PATIENCE_S)) as client:
            return replace(await facts_of(client), named=named)

    return asyncio.run(asked())
