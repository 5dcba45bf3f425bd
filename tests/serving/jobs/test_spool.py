"""Files of jobs in a folder and at another fsspec address."""

import errno
from pathlib import Path

import pytest

from choreo.errors import NotSaved
from serving.errors import StoreUnavailable
from serving.jobs.spool import FILES, INPUT, Spool
from serving.jobs.store import new_id


@pytest.fixture(params=["folder", "memory"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Spool:
    return Spool(str(tmp_path / "my spöol") if request.param == "folder" else f"memory://{tmp_path.name}")


def test_files_are_kept_read_and_forgotten(spool: Spool) -> None:
    one, other = new_id(), new_id()
    assert spool.jobs() == []
    spool.write(one, INPUT, "a" * 64, b"song")
    spool.write(one, FILES, "000000.npz", b"dance")
    spool.write(one, FILES, "000000.npz", b"dance again")
    spool.write(other, FILES, "000000.npz", b"other")
    assert (spool.read(one, INPUT, "a" * 64), spool.read(one, FILES, "000000.npz")) == (b"song", b"dance again")
    assert sorted(spool.jobs()) == sorted([one, other])
    spool.forget(one)
    spool.forget(one)
    assert spool.jobs() == [other]
    with pytest.raises(FileNotFoundError):
        spool.read(one, FILES, "000000.npz")


@pytest.mark.parametrize(
    ("job", "name"), [("..", "a"), ("job-1", "a"), (None, "../a"), (None, "a/b"), (None, ""), (None, ".part")]
)
def test_names_stay_in_the_spool(spool: Spool, job: str | None, name: str) -> None:
    with pytest.raises(ValueError, match="not the"):
        spool.write(job or new_id(), FILES, name, b"")


def test_a_full_disk_leaves_no_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, job = Spool(str(tmp_path)), new_id()

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NotSaved):
        spool.write(job, FILES, "000000.npz", b"dance")
    assert list((tmp_path / job / FILES).iterdir()) == []


def test_a_place_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable):
        Spool(str(tmp_path / "file")).write(new_id(), FILES, "000000.npz", b"")
    with pytest.raises(StoreUnavailable, match="opened"):
        Spool("nonsense://bucket")
