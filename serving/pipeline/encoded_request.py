"""What the encoding stage makes of a request."""

from dataclasses import dataclass, field

from choreo.generators.base import Conditioning
from choreo.music.song_beats import NO_BEATS, SongBeats
from choreo.music.structure import Section
from retrieval.library.embedding import Query


@dataclass(frozen=True)
class EncodedRequest:
    """Song and prompt, encoded: for the networks, and apart from that for the phrase library.

    Attributes:
        conditioning: what the generator's networks see.
        query: what phrases are looked for by.
        text_encoder: name of the encoder that the query's text comes from.
        tempo: beats per minute, 0 without a song.
        song: sha256 of the song, for provenance.
        notes: what the sender should know of the song, such as that it was cut off.
        beats: of the song, for finishing.
        sections: of the song, where the request asked for them.
    """

    conditioning: Conditioning
    query: Query = field(default_factory=Query)
    text_encoder: str = ""
    tempo: float = 0.0
    song: str | None = None
    notes: tuple[str, ...] = ()
    beats: SongBeats = NO_BEATS
    sections: tuple[Section, ...] = ()

    @property
    def num_frames(self) -> int:
        """Length of the motion to make."""
        return self.conditioning.num_frames
