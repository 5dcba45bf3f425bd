"""One way of decoding: whatever players play is heard whole and in time, and what is missing is said."""

from contextlib import closing
from pathlib import Path

import numpy as np
import odd_songs
import pytest
from odd_songs import ID3, drums, encoded, wav

from choreo.errors import InvalidInput
from choreo.music import ffmpeg_source
from choreo.music.audio import SAMPLE_RATE, decode_audio
from choreo.music.ffmpeg_source import FfmpegSource
from choreo.music.isolated import decode_audio_isolated, decode_soundtrack_isolated
from choreo.music.soundtrack import decode_soundtrack
from choreo.music.sources import LibsndfileSource

SONG = drums()
NO_HEADER = "-write_xing", "0"


def lag(samples: np.ndarray) -> int:
    """Samples by which decoded drums come late."""
    reference = decode_audio(wav(SONG)).samples[: 3 * SAMPLE_RATE]
    got = samples[: len(reference)]
    size = 2 * len(reference)
    products = np.fft.irfft(np.fft.rfft(got, size) * np.conj(np.fft.rfft(reference, size)))
    return (int(products.argmax()) + len(reference)) % size - len(reference)


@pytest.mark.parametrize("suffix", [".m4a", ".aac", ".opus", ".webm", ".wma", ".mp3", ".flac", ".ogg", ".aiff"])
def test_every_format_is_heard_whole(suffix: str) -> None:
    codec = {".ogg": ["-c:a", "libvorbis"]}.get(suffix, [])
    audio = decode_audio(encoded(SONG, suffix, *codec))
    assert audio.seconds == pytest.approx(8, abs=0.06)
    assert audio.notes == ()
    assert abs(lag(audio.samples)) <= 0.05 * SAMPLE_RATE  # an aac stream without a container keeps its run-in


@pytest.mark.parametrize("options", [("-q:a", "6", *NO_HEADER), ("-b:a", "128k", *NO_HEADER), ("-q:a", "2")])
def test_the_length_of_an_mp3_is_counted(options: tuple[str, ...]) -> None:
    whole = decode_audio(encoded(SONG, ".mp3", *options))
    assert whole.seconds == pytest.approx(8, abs=0.06)
    assert whole.notes == ()


@pytest.mark.parametrize("options", [("-q:a", "4"), ("-b:a", "128k"), NO_HEADER])
@pytest.mark.parametrize("before", [b"\0" * 4096, ID3 + b"\0" * 2048])
def test_what_lies_before_an_mp3_does_not_shift_it(options: tuple[str, ...], before: bytes) -> None:
    song = encoded(SONG, ".mp3", "-id3v2_version", "0", *options)
    np.testing.assert_array_equal(decode_audio(before + song).samples, decode_audio(song).samples)


def test_both_decoders_are_in_time_with_each_other() -> None:
    for song in (encoded(SONG, ".mp3", "-q:a", "4"), encoded(SONG, ".ogg", "-c:a", "libvorbis"), wav(SONG)):
        with closing(LibsndfileSource(song, "a")) as one, closing(FfmpegSource(song, "a")) as other:
            first, second = (np.concatenate(list(source.blocks())) for source in (one, other))
        assert one.heading.sample_rate == other.heading.sample_rate
        np.testing.assert_allclose(second[: len(first)], first[: len(second)], atol=1e-3)
        assert abs(len(first) - len(second)) < 1152


def test_joined_files_are_heard_to_their_end() -> None:
    for one in (encoded(SONG, ".mp3", "-b:a", "128k"), encoded(SONG, ".ogg", "-c:a", "libvorbis")):
        audio = decode_audio(one * 2)
        assert audio.seconds == pytest.approx(16, abs=0.2)
        assert audio.notes == ()


@pytest.mark.parametrize(
    "before", [b"\0" * 4096, b"\0" * 300_000, ID3 + b"\0" * 2048, bytes(range(200)) * 15, ID3 * 3], ids=len
)
def test_an_mp3_may_begin_late(before: bytes) -> None:
    song = encoded(SONG, ".mp3", "-b:a", "128k", "-id3v2_version", "0", *NO_HEADER)
    assert decode_audio_isolated(before + song).seconds == pytest.approx(8, abs=0.06)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".wav", ()), (".aiff", ()), (".flac", ()), (".ogg", ("-c:a", "libvorbis")), (".opus", ()), (".aac", ()),
        (".mp3", ("-b:a", "128k")), (".mp3", ("-q:a", "5")), (".mp3", ("-b:a", "128k", *NO_HEADER)), (".webm", ()),
        (".m4a", ("-movflags", "+faststart")), (".wma", ()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_file_that_was_cut_off_says_how_much_was_found(suffix: str, options: tuple[str, ...], share: float) -> None:
    whole = encoded(SONG, suffix, *options)
    audio = decode_audio(whole[: round(len(whole) * share) + 3])
    assert 0.2 * 8 < audio.seconds < 8 * share + 0.5
    assert len(audio.notes) == 1
    assert f"{audio.seconds:.1f} s" in audio.notes[0]


def test_an_rf64_and_an_aiff_that_were_cut_off() -> None:
    for form in ("RF64", "AIFF"):
        whole = wav(SONG, form=form)
        (note,) = decode_audio(whole[: len(whole) // 2]).notes
        assert "4.0 s were found, its file says 8.0 s" in note
        assert decode_audio(whole).notes == ()


def test_an_m4a_without_its_index_is_refused_with_the_reason() -> None:
    whole = encoded(SONG, ".m4a")
    with pytest.raises(InvalidInput, match="cut off: the index"):
        decode_audio(whole[: len(whole) // 2])


def test_a_flac_that_is_damaged_in_the_middle_is_heard_with_a_note() -> None:
    song = bytearray(encoded(SONG, ".flac"))
    song[len(song) // 2 : len(song) // 2 + 2000] = bytes(2000)
    audio = decode_audio(bytes(song))
    assert audio.seconds > 7
    assert len(audio.notes) == 1


@pytest.mark.parametrize("kind", ["playlist", "concat", "segments", "edl"])
def test_a_song_cannot_name_other_files(tmp_path: Path, kind: str) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(wav(SONG))
    bait = {
        "playlist": f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{other}\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{other}'\n",
        "segments": f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:3,\nfile://{other}\n",
        "edl": f"# mpv EDL v0\n{other},0,3\n",
    }[kind]
    with pytest.raises(InvalidInput, match="not audio") as caught:
        decode_audio_isolated(bait.encode())
    assert str(tmp_path) not in caught.value.message


def test_a_video_without_sound_is_refused_and_one_with_sound_is_heard() -> None:
    picture = "-f", "lavfi", "-i", "color=s=64x64:d=8", "-shortest"
    silent, film = (
        encoded(SONG, ".mp4", *picture, *more) for more in (("-map", "1:v"), ("-map", "1:v", "-map", "0:a"))
    )
    with pytest.raises(InvalidInput, match="holds no audio"):
        decode_audio(silent)
    assert decode_audio(film).seconds == pytest.approx(8, abs=0.1)


def test_hours_in_a_small_file_cost_no_memory() -> None:
    hours = encoded(np.zeros((1000, 1)), ".m4a", "-af", "apad=whole_dur=3000", "-b:a", "8k", "-ar", "8000", rate=8000)
    assert len(hours) < 2_000_000
    with pytest.raises(InvalidInput, match="limit of 600 s"):
        decode_audio_isolated(hours)


def test_a_decoder_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hang = tmp_path / "ffmpeg"
    hang.write_text("#!/bin/sh\nexec sleep 60\n")
    hang.chmod(0o755)
    monkeypatch.setattr(ffmpeg_source, "ffmpeg_program", lambda: str(hang))
    monkeypatch.setattr(ffmpeg_source, "DECODE_SECONDS", 0.3)
    with pytest.raises(InvalidInput, match="took longer"):
        decode_audio(encoded(SONG, ".m4a"))


def test_what_a_failing_decoder_says_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for script in ("echo /secret >&2; exit 1", "head -c 100 /dev/urandom", "printf .snd"):
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(ffmpeg_source, "ffmpeg_program", lambda: str(tmp_path / "ffmpeg"))
        with pytest.raises(InvalidInput, match="not audio that can be read") as caught:
            decode_audio(encoded(SONG, ".m4a"))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("before", [b"", ID3])
def test_the_sound_of_a_film_is_the_song_that_was_accepted(before: bytes) -> None:
    song = before + wav(np.stack([SONG, 0.5 * SONG], axis=1))
    sound = decode_soundtrack_isolated(song, 3.0)
    assert sound.samples.shape == (3 * 48_000, 2)
    left, right = (sound.samples.astype(np.float64) / 32767).T
    np.testing.assert_allclose(right, 0.5 * left, atol=1e-4)
    heard = decode_audio(song, sample_rate=48_000, mix="heard").samples[: len(left)]
    np.testing.assert_allclose((left + right)[:-500] / 2, heard[:-500], atol=1e-3)


def test_a_film_may_outlast_its_song() -> None:
    assert decode_soundtrack(wav(SONG), 20.0).seconds == pytest.approx(8)


def test_loud_float_files_are_turned_down() -> None:
    peaks = np.abs(decode_soundtrack(wav(20_000 * SONG, subtype="FLOAT"), 8.0).samples).max()
    assert 30_000 < peaks <= 32_767


def test_the_surgery_made_what_the_tests_are_about() -> None:
    assert len(odd_songs.ID3) == 1010
    assert b"Xing" not in encoded(SONG, ".mp3", "-q:a", "6", *NO_HEADER)[:4096]
