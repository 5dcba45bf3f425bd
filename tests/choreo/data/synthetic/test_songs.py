import csv
from pathlib import Path

import numpy as np
import pytest

from choreo.data.synthetic.clips import synthetic_clips
from choreo.data.synthetic.songs import HELD_OUT, TEMPO_RANGE, loops, synthesized_songs
from choreo.motion.skeleton import FPS
from choreo.music.beats import tempo_of
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
