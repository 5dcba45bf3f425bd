"""Files of a command: all of them, or none, and what stands in their way is noticed before the work."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import serving.cli.report
from choreo.errors import DeadlineExceeded, InvalidInput, MissingDependency, NotSaved
from choreo.motion.clip import Motion
from choreo.motion.formats.formats import Format
from choreo.motion.formats.mp4 import PreviewFailed
from serving.cli.report import file_names, results_in, write_files

MOTION = Motion(np.zeros((6, 22, 3), np.float32))


@pytest.mark.parametrize("error", [PreviewFailed("no"), DeadlineExceeded("late"), KeyboardInterrupt()])
def test_a_film_that_fails_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    write = serving.cli.report.write

    def failing(motion: Motion, fmt: Format, *args: Any) -> None:
        if fmt is Format.MP4:
            raise error
        write(motion, fmt, *args)

    monkeypatch.setattr(serving.cli.report, "write", failing)
    names = file_names([Format.NPZ, Format.MP4])

    def run() -> None:
        with results_in(tmp_path / "out", list(names.values())) as part:
            write_files(MOTION, part, names, None, "")

    with pytest.raises(type(error)):
        run()
    assert list(tmp_path.iterdir()) == []


def test_what_stands_in_the_way_is_noticed_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be written") as caught, results_in(tmp_path / "file", []):
        pytest.fail("the work was begun")
    assert caught.value.field == "out"

    def absent() -> str:
        raise MissingDependency("no ffmpeg program was found")

    monkeypatch.setattr(serving.cli.report, "ffmpeg_program", absent)
    with pytest.raises(MissingDependency), results_in(tmp_path / "out", [Format.MP4]):
        pytest.fail("the work was begun")
    with results_in(tmp_path / "out", [Format.NPZ]) as part:
        write_files(MOTION, part, file_names([Format.NPZ]), None, "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["motion.npz"]


def test_a_full_disk_is_said_to_be_that(tmp_path: Path) -> None:
    with pytest.raises(NotSaved, match="make room"), results_in(tmp_path / "out", []):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ConnectionRefusedError), results_in(tmp_path / "out", []):
        raise ConnectionRefusedError
    assert list(tmp_path.iterdir()) == []
