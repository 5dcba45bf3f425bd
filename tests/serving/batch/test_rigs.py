"""Catalogs that the user's own character dances."""

import asyncio
import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_workers import FakeWorkers, Place, prompts
from glb_scene import GlbScene
from http_thread import served
from made_rigs import Shape, glb_rig, skeleton
from rig_names import MIXAMO

from bench.conditioned_engine import ConditionedEngine
from choreo.errors import InvalidInput
from choreo.rigs.animate import Character, character_of
from choreo.rigs.joint_map import GivenMap
from serving.batch.attachments import AttachmentReader
from serving.batch.catalog import CatalogRow
from serving.batch.config import WorkerConfig
from serving.batch.items import ItemDefaults
from serving.batch.progress import Silent
from serving.batch.run import BatchOptions, run_batch
from serving.batch.storage import LocalStore
from serving.batch.worker import Worker
from serving.http.ingress import create_app
from serving.settings import Settings

GLB = glb_rig(skeleton(Shape(1.2), MIXAMO))


@pytest.fixture
def character() -> Character:
    return character_of(GLB, ".glb")


@pytest.fixture
def url(stages: Any) -> Iterator[str]:
    with served(create_app(Settings(), stages.stages())) as url:
        yield url


def frames_of(path: Path) -> int:
    return int(GlbScene(path.read_bytes()).json["animations"][0]["extras"]["num_frames"])


def test_every_item_has_a_file_of_the_character(tmp_path: Path, character: Character) -> None:
    (tmp_path / "out").mkdir()
    reader = AttachmentReader(str(tmp_path), False, (), 1 << 24)
    defaults, store = ItemDefaults(("glb",)), LocalStore(tmp_path / "out")
    config = WorkerConfig(Settings(), store, reader, defaults, make_engine=ConditionedEngine)
    config = replace(config, character=pickle.loads(pickle.dumps(character)))  # as it travels to other processes

    async def run() -> Any:
        async with Worker(config) as worker:
            fields = {"text_prompt": "a waltz", "duration": 1.0, "num_steps": 2}
            return (await worker.run([CatalogRow(0, 1, "item", fields)]))[0]

    row = json.loads(asyncio.run(run()).row)["response"]
    assert {name: path.rpartition("/")[2] for name, path in row["files"].items()} == {
        "glb": "item.glb",
        "rig": "item.rig.glb",
    }
    assert frames_of(tmp_path / "out" / row["files"]["rig"]) == row["meta"]["num_frames"] == 30


def test_a_server_dances_for_the_character(tmp_path: Path, url: str, character: Character) -> None:
    place = Place(tmp_path, FakeWorkers())
    options = BatchOptions(str(place.catalog(*prompts(2))), str(place.out), ("npz",), url=url, character=character)
    run_batch(options, Settings(), Silent())
    for row in place.results():
        response = row["response"]
        assert frames_of(place.out / response["files"]["rig"]) == response["meta"]["num_frames"]


def test_another_character_is_another_run(tmp_path: Path, character: Character) -> None:
    place = Place(tmp_path, FakeWorkers())
    catalog = place.catalog(*prompts(2))
    place.run(catalog, character=character)
    place.run(catalog, character=character_of(GLB, ".glb"))
    for other in (None, character_of(GLB, ".glb", GivenMap({"left_foot": ()}))):
        with pytest.raises(InvalidInput) as error:
            place.run(catalog, character=other)
        assert error.value.field == "rig"
