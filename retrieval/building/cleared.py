"""Recordings restricted to what may train weights that are shipped."""

from collections.abc import Callable
from dataclasses import replace

from choreo.data.licences import is_cleared, terms
from choreo.errors import InvalidInput
from retrieval.building.extraction import PhraseSource, Recording
from retrieval.building.sources import Sources


def cleared(sources: Sources) -> Sources:
    """The same recordings without captions that are not cleared; one whose own terms are not fails to load."""
    return replace(sources, recordings=[_restricted(recording) for recording in sources.recordings])


def _restricted(recording: Recording) -> Recording:
    return replace(recording, identity=f"{recording.identity}|cleared", load=_loader(recording))


def _loader(recording: Recording) -> Callable[[], PhraseSource]:
    def load() -> PhraseSource:
        source = recording.load()
        if not is_cleared(source.licence):
            named = f"{source.licence or 'none stated'} ({terms(source.licence).licence})"
            raise InvalidInput(recording.name, f"has terms that are not cleared: {named}")
        captions = tuple(c for c in source.captions if is_cleared(c.licence or source.licence))
        return replace(source, captions=captions)

    return load
