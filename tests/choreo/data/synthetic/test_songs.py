import csv
from pathlib import Path

import numpy as np
import pytest

from choreo.data.synthetic.clips import synthetic_clips
from choreo.data.synthetic.songs import (
    HELD_OUT,
    HELD_OUT_TRACKS,
    TEMPO_RANGE,
    SongTerms,
    loops,
    synthesized_songs,
    tracks,
)
from choreo.errors import InvalidInput
from choreo.motion.skeleton import FPS
from choreo.music.beats import tempo_of
from choreo.music.features import BEAT
from choreo.music.synth import synthesize_song, write_wav


def test_synthesised_songs_spread_over_the_tempos_and_know_their_beats() -> None:
    songs = list(synthesized_songs(3, seed=1, seconds=6))
    assert [round(tempo_of(s.beats)) for s in songs] == [TEMPO_RANGE[0], sum(TEMPO_RANGE) / 2, TEMPO_RANGE[1]]
    for song in songs:
        assert song.features.shape == (song.num_frames, 35)
        assert song.num_frames == pytest.approx(6 * FPS, abs=1)
        near = np.rint(song.beats * FPS).astype(int)
        window = np.clip(near[:, None] + (0, 1, 2), 0, song.num_frames - 1)
        assert song.onset[window].max(1).mean() > song.onset.mean()


def test_a_loop_is_repeated_without_losing_its_beat(tmp_path: Path) -> None:
    samples, rate, _ = synthesize_song(160, 3.0)  # eight beats
    titles = ["loop_mine", sorted(HELD_OUT)[0]]
    with (tmp_path / "LICENSES.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "title", "known_bpm"])
        writer.writeheader()
        for title in titles:
            write_wav(tmp_path / f"{title}.wav", samples, rate)
            writer.writerow({"file": f"{title}.wav", "title": title, "known_bpm": "160"})
        writer.writerow({"file": "no.wav", "title": "loop_without_tempo", "known_bpm": ""})
    (song,) = loops(tmp_path, seconds=10)
    assert song.name == "loop/loop_mine"
    # 160 is counted as 80: a loop of 3 s holds four beats.
    np.testing.assert_allclose(np.diff(song.beats), 0.75)
    assert [s.name for s in loops(tmp_path, held_out=True, seconds=4)] == [f"loop/{titles[1]}"]
    assert not list(loops(tmp_path / "nowhere"))


def test_synthetic_clips_dance_to_their_songs() -> None:
    clips = synthetic_clips(2, seed=4)
    assert len({c.group for c in clips}) == 2
    for clip in clips:
        assert clip.music is not None
        assert len(clip.features) == len(clip.music) == len(clip.rhythm)
        assert clip.captions[0].text
        assert clip.rhythm[:, 3].all()


def test_synthesised_songs_know_their_bars() -> None:
    for song, meter in zip(synthesized_songs(3, seconds=8), (4, 4, 3), strict=True):  # breakbeat, house, waltz
        np.testing.assert_array_equal(song.downbeats, song.beats[::meter])


def write_tracks(folder: Path, rows: list[str], names: tuple[str, ...]) -> None:
    samples, rate, _ = synthesize_song(120, 4.0)
    lines = ["file,title,author,licence,source"]
    for name in names:
        write_wav(folder / f"{name}.wav", samples, rate)
        lines.append(f'{name}.wav,{name},"A, B",CC0-1.0,a place')
    (folder / "LICENSES.csv").write_text("\n".join(lines))
    (folder / "beats.csv").write_text("\n".join(["file,beat_s,beat_in_bar", *rows]))


def test_tracks_have_the_beats_bars_and_terms_of_their_tables(tmp_path: Path) -> None:
    held_out = min(HELD_OUT_TRACKS)
    rows = [f"{name}.wav,{0.5 * i},{i % 3 + 1}" for name in ("mine", held_out) for i in range(9)]
    write_tracks(tmp_path, rows, ("mine", held_out))
    (song,) = tracks(tmp_path)
    assert (song.name, song.num_frames) == ("track/mine", 120)
    assert song.beats.tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]  # the last one is the end of the song
    assert song.downbeats.tolist() == [0, 1.5, 3]
    assert np.flatnonzero(song.features[:, BEAT]).tolist() == [0, 15, 30, 45, 60, 75, 90, 105]
    assert song.terms == SongTerms("a place", "A, B", "CC0-1.0")
    (other,) = tracks(tmp_path, held_out=True, seconds=2)
    assert (other.name, other.num_frames, other.beats.max()) == (f"track/{held_out}", 60, 1.5)
    assert not list(tracks(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        ("../mine.wav,0,1", "beats.csv", "files of its folder"),
        ("mine.wav,x,1", "beats.csv", "not a table of beats"),
        ("mine.wav,nan,1", "beats.csv", "not ascending seconds"),
        ("mine.wav,1,0", "beats.csv", "not ascending seconds"),
        ("mine.wav,1,1\nmine.wav,1,2", "beats.csv", "not ascending seconds"),
        ("mine.wav", "beats.csv", "not a table of beats"),
        ("other.wav,1,1", "LICENSES.csv", "no line for other.wav"),
    ],
)
def test_damaged_tables_of_tracks_are_refused(tmp_path: Path, row: str, field: str, says: str) -> None:
    write_tracks(tmp_path, [row], ("mine",))
    with pytest.raises(InvalidInput, match=says) as caught:
        list(tracks(tmp_path))
    assert caught.value.field == field
