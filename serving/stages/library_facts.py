"""What is known of an open phrase library."""

from choreo.motion.skeleton import FPS
from retrieval.library.library import PhraseLibrary
from serving.pipeline.phrases import LibraryFacts


def facts(library: PhraseLibrary) -> LibraryFacts:
    """What a library says about itself."""
    manifest = library.manifest
    seconds = round(manifest.frames / FPS, 1)
    return LibraryFacts(
        version=library.version,
        phrases=len(library),
        seconds=seconds,
        licences=manifest.licences,
        text_encoder=manifest.embedding.text_encoder,
        index=manifest.index.kind,
        place=library.place,
    )
