"""Tags of whole songs: windows, means, short and silent songs."""

import numpy as np
import pytest

from choreo.errors import InvalidInput
from choreo.music.audio import Audio
from choreo.music.synth import synthesize_song
from choreo.music.tagging import tagger as tagging
from choreo.music.tagging.tagger import WINDOW_S, Tagger
from choreo.music.tagging.vocabulary import GENRES, MOODS, VOCABULARIES


def audio(samples: np.ndarray, rate: int = 16_000) -> Audio:
    return Audio(samples.astype(np.float32), rate, len(samples) / rate, "")


def test_a_song_is_heard_in_windows() -> None:
    samples, rate, _ = synthesize_song(120, 7, style="house")
    tags = Tagger().tag(audio(samples, rate))
    assert (tags.windows.shape, tags.embeddings.shape) == ((2, 50), (2, 200))
    np.testing.assert_allclose(tags.starts, [0, WINDOW_S])
    np.testing.assert_allclose(tags.probabilities, tags.windows.mean(0))
    document = tags.document(3)
    assert [tag["name"] for tag in document["tags"]] == [name for name, _ in tags.top(3)]
    assert tags.top(1)[0][1] == tags.probabilities.max()
    assert {name for name, _ in tags.top(50, MOODS)} == MOODS & set(VOCABULARIES["msd"])
    assert len(document["embedding"]) == 200


def test_short_and_silent_songs() -> None:
    samples, rate, _ = synthesize_song(120, 1, style="house")
    assert len(Tagger().tag(audio(samples, rate)).windows) == 1
    silent = Tagger().tag(audio(np.zeros(100_000)))
    assert (silent.top(5), silent.embedding.any(), silent.document()["windows"]) == ([], False, 0)


def test_long_songs_are_heard_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tagging, "MAX_WINDOWS", 2)
    samples, rate, _ = synthesize_song(120, 13, style="house")
    np.testing.assert_allclose(Tagger().tag(audio(samples, rate)).starts, [0, 3 * WINDOW_S])


def test_vocabularies() -> None:
    assert all(len(set(names)) == 50 for names in VOCABULARIES.values())
    assert set().union(*VOCABULARIES.values()) >= GENRES | MOODS


def test_unknown_models_are_refused() -> None:
    with pytest.raises(InvalidInput, match="msd or mtt"):
        Tagger("big")
