"""Songs are known by their suffix in any case; of several, one is used and the others are named."""

from pathlib import Path

import pytest

from choreo.music.song_names import songs_by_stem, songs_in


@pytest.mark.parametrize("name", ["a.wav", "a.WAV", "a.Flac", "a.oGG", "a.MP3", "a.m4a", "a.OPUS", "a.Aiff", "a.webm"])
def test_case_does_not_matter(name: str) -> None:
    songs = songs_by_stem([Path(name)])["a"]
    assert (songs.song, songs.notes) == (Path(name), ())


def test_the_others_are_named() -> None:
    songs = songs_by_stem(map(Path, ["a.mp3", "a.mid", "a.WAV", "b.ape", "b.txt", "c.npz"]))
    assert set(songs) == {"a", "b"}
    assert songs["a"].song == Path("a.WAV")
    assert songs["a"].notes[0] == "a.mp3 is not used: a.WAV is its song"
    assert songs["a"].notes[1].startswith("a.mid is not used: songs are wav, ")
    assert songs["b"].song is None
    assert len(songs["b"].notes) == 1


def test_only_files_of_a_folder_are_songs(tmp_path: Path) -> None:
    (tmp_path / "a.wav").mkdir()
    (tmp_path / "a.OGG").write_bytes(b"")
    assert songs_in(tmp_path)["a"].song == tmp_path / "a.OGG"
    assert songs_in(tmp_path / "absent") == {}
