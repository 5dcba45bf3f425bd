"""What becomes of FBX where Blender is missing, fails, hangs, or writes something else."""

import os
import stat
from pathlib import Path

import pytest

from choreo.errors import MissingDependency
from choreo.motion.clip import Motion
from choreo.motion.formats import fbx
from choreo.motion.formats.fbx import VARIABLE, BlenderFailed, blender_program, fbx_bytes
from choreo.motion.formats.formats import Format, write


@pytest.fixture
def blender_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make CHOREO_BLENDER a shell script; `$OUT` is the file that it should write."""

    def make(script: str) -> None:
        path = tmp_path / "fake-blender"
        path.write_text("#!/bin/sh\nfor OUT; do :; done\n" + script)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv(VARIABLE, str(path))

    return make


def test_without_blender(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, motion: Motion) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"install it .*, or set CHOREO_BLENDER"):
        fbx_bytes(motion)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "blender"))
    with pytest.raises(MissingDependency, match=r"CHOREO_BLENDER=.*is no program"):
        blender_program()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo no display; exit 7", r"exit status 7\): no display"),
        ("exit 0", "wrote no FBX file: it said nothing"),
        ('echo "; FBX 7.4" > "$OUT"', "wrote no FBX file"),
        ("kill -9 $$", "exit status -9"),
        ("yes | head -c 5000000 >&2; echo; echo the end; exit 1", "the end$"),
    ],
)
def test_a_blender_that_fails_leaves_nothing(
    blender_is, motion: Motion, script: str, message: str, tmp_path: Path
) -> None:
    blender_is(script)
    out = tmp_path / "out" / "dance.fbx"
    out.parent.mkdir()
    out.write_bytes(b"old")
    with pytest.raises(BlenderFailed, match=message) as error:
        write(motion, Format.FBX, out)
    assert len(str(error.value)) < 700
    assert out.read_bytes() == b"old"
    assert os.listdir(out.parent) == ["dance.fbx"]


def test_a_blender_that_hangs_is_killed(blender_is, motion: Motion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fbx, "BASE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(fbx, "SECONDS_PER_FRAME", 0.0)
    blender_is("exec sleep 600")
    with pytest.raises(BlenderFailed, match="not write the file within 0 s"):
        fbx_bytes(motion)


def test_blender_gets_the_scene_and_none_of_our_python(blender_is, motion: Motion, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    blender_is(f'echo "$@" > {tmp_path}/arguments; env > {tmp_path}/env; printf "Kaydara FBX Binary  rest" > "$OUT"')
    assert fbx_bytes(motion) == b"Kaydara FBX Binary  rest"
    arguments = (tmp_path / "arguments").read_text().split()
    assert arguments[:2] == ["--background", "--factory-startup"]
    assert arguments[-3] == "--"
    assert "PYTHONPATH=" not in (tmp_path / "env").read_text()
    assert not Path(arguments[-1]).parent.exists()
