"""Songs of a known form."""

import numpy as np
import pytest

from choreo.data.synthetic.song_forms import formed_song
from choreo.errors import InvalidInput


def test_sections_come_again_but_for_loudness_and_noise() -> None:
    song = formed_song("ABA", [2, 3, 2], 120, seed=3)
    assert song.labels == ("A", "B", "A")
    assert song.edges == pytest.approx([0, 4, 10, 14])
    assert len(song.downbeats) == 7
    parts = [song.audio.samples[round(a * 22050) : round(a * 22050) + 80_000] for a in (0, 4, 10)]
    assert np.corrcoef(parts[0], parts[2])[0, 1] > 0.9
    assert abs(np.corrcoef(parts[0], parts[1])[0, 1]) < 0.7
    assert np.array_equal(song.audio.samples, formed_song("ABA", [2, 3, 2], 120, seed=3).audio.samples)


def test_three_quarters() -> None:
    song = formed_song("AB", 2, 180, style="waltz")
    assert song.edges == pytest.approx([0, 2, 4])
    assert song.downbeats == pytest.approx([0, 1, 2, 3])


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"form": ""}, "form"),
        ({"form": "ab"}, "form"),
        ({"form": "A" * 33}, "form"),
        ({"form": "AB", "bars": [8]}, "bars"),
        ({"form": "AB", "bars": 0}, "bars"),
        ({"form": "AB", "style": "polka"}, "style"),
        ({"form": "AB", "tempo": 1.0}, "tempo"),
    ],
)
def test_bad_input(values: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        formed_song(**values)  # type: ignore[arg-type]
    assert caught.value.field == field
