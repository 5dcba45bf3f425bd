"""Runs of catalogs: order, faults, continuing after every kind of end, and folders that hold something else."""

import errno
import json
import os
from pathlib import Path

import fsspec
import pytest
from fake_workers import FakeWorkers, Place, prompts

from choreo.errors import InvalidArtifact, InvalidInput
from serving.batch.catalog import CatalogRow
from serving.batch.journal import Journal
from serving.batch.outcome import RunStopped


class FakeEnd:
    """Ends a run before an item, once."""

    def __init__(self, custom_id: str, error: BaseException) -> None:
        self._custom_id, self._error, self._done = custom_id, error, False

    def __call__(self, row: CatalogRow) -> None:
        if row.custom_id == self._custom_id and not self._done:
            self._done = True
            raise self._error


def test_results_are_in_the_order_of_the_catalog(place: Place) -> None:
    catalog = place.catalog(*prompts(40), {"custom_id": "bad", "body": {"num_steps": 0, "text_prompt": "x"}})
    summary = place.run(catalog, formats=("npz", "bvh"))
    assert summary["state"] == "finished"
    assert (summary["items"], summary["succeeded"], summary["failed"], summary["left"]) == (41, 40, 1, 0)
    results = place.results()
    assert [row["custom_id"] for row in results] == [f"item-{i}" for i in range(40)] + ["bad"]
    assert results[0]["response"]["status_code"] == 200
    assert results[0]["error"] is None
    for path in results[0]["response"]["files"].values():
        assert (place.out / path).is_file()
    assert results[-1]["response"] == {"status_code": 422, "files": {}, "meta": None}
    assert results[-1]["error"]["field"] == "num_steps"
    assert results[-1]["error"]["line"] == 41
    assert place.results("errors.jsonl") == results[-1:]
    document = json.loads((place.out / "run.json").read_text())
    assert document["counts"] == {"items": 41, "succeeded": 40, "failed": 1}
    assert document["configuration"]["format"] == ["npz", "bvh"]
    assert "choreo" in document["versions"]


@pytest.mark.parametrize("end", [KeyboardInterrupt(), RunStopped("the disk is full"), OSError(errno.ENOSPC, "full")])
def test_the_same_command_continues(end: BaseException, place: Place, tmp_path: Path) -> None:
    catalog = place.catalog(*prompts(40))
    place.workers.before = FakeEnd("item-13", end)
    summary = place.run(catalog, settings={"batch_items": 4})
    assert summary["state"] == ("interrupted" if isinstance(end, KeyboardInterrupt) else "stopped")
    assert 0 < summary["left"] < 40
    assert len(place.results()) == 40 - summary["left"]
    summary = place.run(catalog)
    assert (summary["state"], summary["left"]) == ("finished", 0)
    assert [row["custom_id"] for row in place.results()] == [f"item-{i}" for i in range(40)]
    other = Place(tmp_path / "undisturbed", FakeWorkers())
    other.folder.mkdir()
    other.run(catalog)
    assert place.files() == other.files()


def test_a_journal_that_cannot_be_written_stops_the_run(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(journal: Journal) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    catalog = place.catalog(*prompts(40))
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "flush", full)
        summary = place.run(catalog)
    assert summary["state"] == "stopped"
    assert "No space left" in summary["reason"]
    assert place.run(catalog)["left"] == 0
    assert len(place.results()) == 40


def test_what_is_done_is_done(place: Place) -> None:
    catalog = place.catalog(*prompts(3))
    place.run(catalog)
    place.workers.before = FakeEnd("item-0", AssertionError("nothing is to be danced"))
    assert place.run(catalog)["tried"] == 0


def test_limits_and_failed_items(place: Place) -> None:
    catalog = place.catalog(*prompts(2), {"custom_id": "late", "body": {"audio": "late.wav"}}, *prompts(5)[3:])
    assert place.run(catalog, limit=3)["left"] == 2
    assert place.run(catalog)["failed"] == 1
    (place.folder / "late.wav").write_bytes(b"song")
    assert place.run(catalog)["tried"] == 0
    summary = place.run(catalog, retry_failed=True)
    assert (summary["tried"], summary["failed"]) == (1, 0)
    assert place.results("errors.jsonl") == []
    assert len(place.results()) == 5


def test_a_torn_line_is_danced_again(place: Place) -> None:
    catalog = place.catalog(*prompts(5))
    place.run(catalog)
    before, journal = place.files(), place.out / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    assert place.run(catalog)["tried"] == 1
    assert place.files() == before
    journal.write_bytes(b"broken\n" + journal.read_bytes())
    with pytest.raises(InvalidArtifact, match="line 1"):
        place.run(catalog)


def test_half_written_files_of_a_killed_run_are_removed(place: Place) -> None:
    catalog = place.catalog(*prompts(4))
    place.run(catalog, limit=2)
    part = place.out / "files" / "00000" / ".0123.part"
    part.touch()
    place.run(catalog)
    assert not part.exists()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"formats": ("bvh",)}, "format"),
        ({"preset": "fast"}, "preset"),
        ({"settings": {"max_seconds": 5.0}}, "CHOREO_MAX_SECONDS"),
        ({"settings": {"triton_url": ("127.0.0.1:1",)}}, "triton_url"),
        ({"catalog": prompts(3)}, "catalog"),
        ({"catalog": prompts(1)}, "catalog"),
    ],
)
def test_another_run_is_refused_by_what_differs(change: dict, field: str, place: Place) -> None:
    place.run(place.catalog(*prompts(2)))
    catalog = place.catalog(*change.pop("catalog", prompts(2)))
    with pytest.raises(InvalidInput) as caught:
        place.run(catalog, **change)
    assert caught.value.field == field
    assert len(place.results()) == 2


def test_a_folder_that_cannot_be_written_to_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = place.catalog(*prompts(1))
    with pytest.raises(InvalidInput, match="is a file"):
        place.run(catalog, out=str(catalog))
    with pytest.raises(InvalidInput, match="cannot be made"):
        place.run(catalog, out=str(catalog / "below"))
    place.out.mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(InvalidInput, match="cannot be written to"):
        place.run(catalog)


@pytest.mark.parametrize(
    ("options", "field"), [({"formats": ("usd",)}, "format"), ({"preset": "slow"}, "preset"), ({"limit": 0}, "limit")]
)
def test_options_are_checked_before_anything_is_written(options: dict, field: str, place: Place) -> None:
    with pytest.raises(InvalidInput) as caught:
        place.run(place.catalog(*prompts(1)), **options)
    assert caught.value.field == field
    assert not place.out.exists()


def test_something_else_is_not_written_over(place: Place) -> None:
    place.out.mkdir()
    (place.out / "results.jsonl").write_text("mine")
    with pytest.raises(InvalidInput, match=r"results\.jsonl"):
        place.run(place.catalog(*prompts(1)))
    (place.out / "run.json").write_text("{}")
    with pytest.raises(InvalidArtifact):
        place.run(place.catalog(*prompts(1)))


def test_two_at_one_run_are_refused(place: Place) -> None:
    catalog = place.catalog(*prompts(2))

    def second(row: CatalogRow) -> None:
        with pytest.raises(InvalidInput, match="another process"):
            Place(place.folder, FakeWorkers()).run(catalog)

    place.workers.before = second
    assert place.run(catalog)["state"] == "finished"


def test_items_under_way_are_bounded(place: Place) -> None:
    place.run(place.catalog(*prompts(300)), settings={"batch_items": 16})
    assert place.workers.most <= 2 * 16 + 8


def test_an_item_that_kills_its_workers_fails_alone(place: Place) -> None:
    def kill(row: CatalogRow) -> None:
        if row.custom_id == "item-7":
            raise RuntimeError("the worker's process ends")

    place.workers.before = kill
    summary = place.run(place.catalog(*prompts(30)))
    assert (summary["state"], summary["failed"]) == ("finished", 1)
    assert place.results()[7]["error"]["code"] == "worker-died"
    assert len(set(place.workers.danced)) == 29


def test_workers_that_always_die_stop_the_run(place: Place) -> None:
    def kill(row: CatalogRow) -> None:
        raise RuntimeError("the worker's process ends")

    place.workers.before = kill
    summary = place.run(place.catalog(*prompts(30)))
    assert summary["state"] == "stopped"
    assert "die" in summary["reason"]


def test_object_stores(place: Place) -> None:
    catalog, memory = place.catalog(*prompts(6)), fsspec.filesystem("memory")
    place.workers.before = FakeEnd("item-1", KeyboardInterrupt())
    assert place.run(catalog, out="memory://bucket/run", settings={"batch_items": 1})["state"] == "interrupted"
    summary = place.run(catalog, out="memory://bucket/run")
    assert (summary["state"], summary["left"]) == ("finished", 0)
    lines = memory.cat_file("/bucket/run/results.jsonl").splitlines()
    assert [json.loads(line)["custom_id"] for line in lines] == [f"item-{i}" for i in range(6)]
    assert memory.cat_file("/bucket/run/files/00000/item-5.npz")
    assert len(set(place.workers.danced)) == 6
    with pytest.raises(InvalidInput) as caught:
        place.run(catalog, out="memory://bucket/run", preset="fast")
    assert caught.value.field == "preset"
    with pytest.raises(InvalidInput, match="is a file"):
        place.run(catalog, out="memory://bucket/run/run.json")
    place.run(catalog, out=f"file://{place.out}")
    assert len(place.results()) == 6
