"""Files and folders appear whole or not at all; a failed write leaves what was there, and nothing else."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from choreo import files
from choreo.files import appearing_together, atomic_write, file_sha256, replacing, swap_folder, sync


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    atomic_write(path, b"one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_the_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        atomic_write(tmp_path / "a", b"")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_failure_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    atomic_write(path, b"old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="directory"):
        atomic_write(tmp_path / "a", b"x")
    assert os.listdir(tmp_path) == ["a"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "missing" / "a", b"x")


def folder(path: Path, content: str) -> Path:
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "file").write_text(content)
    return path


def content(path: Path) -> str:
    return (path / "inner" / "file").read_text()


@pytest.fixture(params=["exchange", "two renames"])
def swapping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "two renames":
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    return str(request.param)


def test_a_folder_takes_the_place_of_an_older_one(tmp_path: Path, swapping: str) -> None:
    part, target = folder(tmp_path / "lib.part", "new"), folder(tmp_path / "lib", "old")
    swap_folder(part, target)
    assert content(target) == "new"
    assert os.listdir(tmp_path) == ["lib"]


def test_a_folder_that_replaces_nothing_moves(tmp_path: Path, swapping: str) -> None:
    swap_folder(folder(tmp_path / "part", "new"), tmp_path / "lib")
    assert content(tmp_path / "lib") == "new"
    assert os.listdir(tmp_path) == ["lib"]


def test_a_swap_that_fails_half_way_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, target = folder(tmp_path / "part", "new"), folder(tmp_path / "lib", "old")
    rename = os.rename

    def fake_rename(one: Path, other: Path) -> None:
        if one == part:
            raise OSError("no such device")
        rename(one, other)

    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "rename", fake_rename)
    with pytest.raises(OSError, match="device"):
        swap_folder(part, target)
    assert (content(target), content(part)) == ("old", "new")
    assert sorted(os.listdir(tmp_path)) == ["lib", "part"]


def test_everything_in_a_folder_is_forced_to_disk_before_it_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(files, "sync", lambda path: synced.append(str(path.relative_to(tmp_path))))
    swap_folder(folder(tmp_path / "part", "new"), tmp_path / "lib")
    assert sorted(synced[:-1]) == ["part", "part/inner", "part/inner/file"]
    assert synced[-1] == "."


def test_the_kernels_exchange_says_whether_it_worked(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one", "1"), folder(tmp_path / "other", "2")
    swapped = files._exchange(one, other)
    assert (content(one), content(other)) == (("2", "1") if swapped else ("1", "2"))
    assert not files._exchange(one, tmp_path / "none")


def test_the_digest_is_that_of_the_content(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "a").write_bytes(data)
    assert file_sha256(tmp_path / "a") == hashlib.sha256(data).hexdigest()
    with pytest.raises(FileNotFoundError):
        file_sha256(tmp_path / "b")


def test_what_is_missing_cannot_be_synced(tmp_path: Path) -> None:
    sync(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "none")


def test_files_of_a_folder_appear_together(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    with appearing_together(out) as part:
        (part / "one").write_text("1")
        (part / "two").write_text("2")
        assert not out.exists()
    assert sorted(path.name for path in out.iterdir()) == ["one", "two"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("before", [[], ["one"]])
def test_what_fails_leaves_a_folder_as_it_was(tmp_path: Path, before: list[str]) -> None:
    out = tmp_path / "out"
    for name in before:
        out.mkdir()
        (out / name).write_text("old")

    def fail() -> None:
        with appearing_together(out) as part:
            (part / "one").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if before else [])
    assert [path.read_text() for path in tmp_path.glob("out/*")] == ["old"] * len(before)


def test_a_file_in_the_way_is_noticed_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(NotADirectoryError), appearing_together(tmp_path / "out"):
        pytest.fail("the work was begun")
