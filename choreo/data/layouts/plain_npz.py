"""The program's own motion archives (`choreo.motion.formats.npz`) as a data set.

    <name>.npz         motion: positions (T, 22, 3) metres, fps; a text `licence` in its meta is kept
    <name>.txt         captions, one a line as in HumanML3D: caption, or caption#tokens#start#end in seconds
    <name>.dsp35.npy   music features (T, 35) at 30 fps; of another encoder: <name>.jukebox.npy
    <name>.wav         or the music itself (`choreo.music.song_names`), starting with the motion

Only the archive is required. Every archive is a group of its own; the archives of one folder are one family.
"""

from pathlib import Path
from typing import Final

from choreo.data.layouts.amass import MAX_PROBED, opened
from choreo.data.layouts.humanml3d import MAX_TEXT_CHARS, parse_sentences
from choreo.data.layouts.listing import regular_files
from choreo.data.layouts.recording import MAX_MISSING_MUSIC_SECONDS, Recording, Skipped, Song
from choreo.data.layouts.song_files import SongFiles, features_suffix
from choreo.errors import InvalidInput
from choreo.motion.formats.npz import read_npz
from choreo.motion.resample import resampled_frames
from choreo.motion.skeleton import FPS
from choreo.music.encoders import DSP35, MusicEncoder

UNSTATED: Final = "unstated"
"""Licence tag of an archive that states none."""


class PlainNpz:
    """A folder of archives, at any depth."""

    name = "npz"

    def __init__(self, root: Path, encoder: MusicEncoder = DSP35) -> None:
        self._features = features_suffix(encoder.name)
        self._paths = {p.relative_to(root).with_suffix("").as_posix(): p for p in regular_files(root, "**/*.npz")}
        self.keys = tuple(self._paths)
        self.published: dict[str, tuple[str, ...]] = {}
        self.skipped = [
            Skipped(path.relative_to(root).as_posix(), "has no motion")
            for suffix in (".txt", self._features)
            for path in regular_files(root, f"**/*{suffix}")
            if not path.with_name(f"{path.name.removesuffix(suffix)}.npz").is_file()
        ]
        self._songs = {folder: SongFiles([folder], encoder) for folder in {p.parent for p in self._paths.values()}}

    @staticmethod
    def recognised(root: Path) -> bool:
        """Whether one of the first archives has positions and a frame rate."""
        archives = (opened(path) for path in regular_files(root, "**/*.npz")[:MAX_PROBED])
        return any(a is not None and "positions" in a and "fps" in a for a in archives)

    def group_of(self, key: str) -> str:
        """The take."""
        return key

    def recording(self, key: str) -> Recording:
        """Read one archive and the files that belong to it.

        Raises:
            InvalidInput: not motion, or music features of another length.
            OSError: a file cannot be read.
        """
        path = self._paths[key]
        motion = read_npz(path, key)
        frames = resampled_frames(motion.num_frames, motion.fps, FPS)
        captions = path.with_suffix(".txt")
        lines: list[str] = []
        if captions.is_file():
            with captions.open(encoding="utf-8", errors="replace") as file:
                found = filter(None, file.read(MAX_TEXT_CHARS).splitlines())
                lines = [text if "#" in text else f"{text}##0#0" for text in found]
        sentences, remarks = parse_sentences(lines, motion.seconds)
        licence = motion.meta.get("licence")
        song, notes = self._song(path, frames, key)
        return Recording(
            key=key,
            group=self.group_of(key),
            family=key.rpartition("/")[0] or self.name,
            positions=motion.positions,
            fps=motion.fps,
            licence=licence if isinstance(licence, str) and licence else UNSTATED,
            sentences=sentences,
            song=song,
            remarks=(*remarks, *self._songs[path.parent].remarks(path.stem)),
            notes=notes,
        )

    def _song(self, path: Path, frames: int, key: str) -> tuple[Song | None, tuple[str, ...]]:
        """The song of a motion of `frames` at 30 fps, and a note where its features are a little longer or shorter."""
        song = self._songs[path.parent].song(path.stem)
        features = path.with_suffix(self._features)
        if song is None or not features.is_file() or (count := len(song.features)) == frames:
            return song, ()
        if abs(count - frames) > MAX_MISSING_MUSIC_SECONDS * FPS:
            raise InvalidInput(
                key,
                f"{features.name} has {count} frames, {count / FPS:.2f} s at {FPS} fps, but the motion lasts "
                f"{frames / FPS:.2f} s; features have {FPS} frames per second",
            )
        return song, (f"is cut to {min(count, frames)} frames: {features.name} has {count}, the motion {frames}",)
