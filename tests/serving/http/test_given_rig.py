"""A character that comes with a request comes back dancing: over HTTP, in jobs, to the client. Hostile ones do not."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from glb_scene import GlbScene
from http_thread import served
from made_rigs import Shape, bvh_rig, glb_rig, packed_glb, skeleton
from rig_names import MIXAMO, MIXAMO_EXTRAS

from choreo.client import Client
from choreo.errors import InvalidInput
from choreo.motion.formats.bvh import read_bvh
from serving.http.ingress import create_app
from serving.pipeline import given_rig
from serving.settings import Settings
from serving.stages.finisher import Finisher

MADE = skeleton(Shape(1.1, arms_down=30), MIXAMO, MIXAMO_EXTRAS)
GLB, BVH = glb_rig(MADE), bvh_rig(MADE)
TEXT = {"text_prompt": "a slow waltz", "seed": 7, "duration": 1.0}


@pytest.fixture
def finishing(stages: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The stages with the finisher that servers have, in place of the fake one."""
    finisher = Finisher()
    monkeypatch.setattr(stages, "deliver", finisher.deliver)
    yield stages
    finisher.close()


def test_a_glb_comes_back_with_the_dance(ingress: Any, finishing: Any) -> None:
    answers = [
        ingress.form({name: str(value) for name, value in TEXT.items()}, {"rig": ("hero.vrm", GLB)}),
        ingress.generate(TEXT | {"rig": base64.b64encode(GLB).decode()}),
        ingress.generate(TEXT | {"rig": base64.b64encode(GLB).decode(), "format": "glb"}),
    ]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "model/gltf-binary"
        assert answer.headers["content-disposition"] == 'attachment; filename="motion-7.glb"'
        assert answer.headers["x-seed"] == "7"
        assert answer.content == answers[0].content
    scene = GlbScene(answers[0].content)
    assert [animation["name"] for animation in scene.json["animations"]] == ["dance"]
    assert scene.buffer.startswith(GlbScene(GLB).buffer)
    assert scene.json["animations"][0]["extras"]["num_frames"] == 30
    assert all(request.rig is None for request in finishing.requests)  # the encoder has no use for it


def test_a_bvh_comes_back_with_the_dance(ingress: Any, finishing: Any) -> None:
    answer = ingress.generate(TEXT | {"rig": base64.b64encode(BVH).decode(), "fps": 60})
    assert answer.headers["content-type"].startswith("application/x-bvh")
    assert answer.text.startswith(BVH.decode().partition("MOTION")[0])
    assert (read_bvh(answer.content, fps=None).fps, read_bvh(answer.content, fps=None).num_frames) == (60, 59)


def test_a_job_and_the_client(finishing: Any, tmp_path: Any) -> None:
    hero = tmp_path / "hero.vrm"
    hero.write_bytes(GLB)
    with served(create_app(Settings(data_dir=tmp_path / "data"), finishing.stages())) as url, Client(url) as client:
        dance = client.generate("a slow waltz", rig=hero, seed=7, duration=1.0)
        assert (dance.format, dance.seed) == ("glb", 7)
        assert dance.save(tmp_path / "hero-dancing.vrm").read_bytes() == dance.content
        with pytest.raises(InvalidInput, match="holds no motion"):
            _ = dance.motion
        job = client.submit([{"text_prompt": "a slow waltz", "rig": hero, "seed": 7, "duration": 1.0}])
        assert job.wait().state == "succeeded"
        (path,) = job.download(tmp_path / "out")
        assert path.suffix == ".glb"
        assert path.read_bytes() == dance.content
        with pytest.raises(InvalidInput, match="rig"):
            client.generate("a slow waltz", rig=b"no rig", seed=7)


def _changed(**members: Any) -> bytes:
    scene = GlbScene(GLB)
    return packed_glb(json.loads(json.dumps(scene.json)) | members, scene.buffer)


@pytest.mark.parametrize(
    ("rig", "message"),
    [
        (b"", "must be a"),
        (b"PK\x03\x04zip", "must be a"),
        (GLB[:1000], "cut off"),
        (GLB[:12] + b"\xff\xff\xff\x7f" + GLB[16:], "MiB of JSON"),
        (_changed(nodes=[{"children": [1]}, {"children": [0]}]), "above itself"),
        (_changed(nodes=[{}] * 70_000), "70000 nodes"),
        (_changed(skins=[{"joints": [10**9]}]), "joints of a skin"),
        (_changed(nodes=[{"name": "a"}], skins=[], scenes=[{"nodes": [0]}]), "has no joint for"),
        (packed_glb({"asset": {}, "nodes": [{"translation": [1e300, 0, 0]}]}, None), "finite numbers"),
        (b"HIERARCHY\nROOT", ""),
        (b"HIERARCHY\n" + b"ROOT a\n{\n" * 5000, ""),
        (BVH[: len(BVH) // 2], ""),
        (b"HIERARCHY" + b" " * (5 << 20), "MiB of text"),
    ],
)
def test_hostile_files_are_refused_by_name(
    ingress: Any, stages: Any, check_problem: Any, rig: bytes, message: str
) -> None:
    answer = ingress.form({"text_prompt": "a slow waltz"}, {"rig": ("hero.glb", rig)})
    assert message in check_problem(answer, 422, "rig")["detail"]
    assert len(answer.content) < 600
    assert not stages.requests


def test_size_is_bounded(ingress: Any, check_problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_rig, "MAX_RIG_BYTES", 1000)
    assert "is larger than" in check_problem(ingress.form(TEXT_ONLY, {"rig": ("a", GLB)}), 422, "rig")["detail"]


TEXT_ONLY = {"text_prompt": "a slow waltz"}


def test_another_format_than_that_of_the_rig(ingress: Any, check_problem: Any) -> None:
    for name in ("npz", "mp4", "bvh"):
        detail = check_problem(ingress.form(TEXT_ONLY | {"format": name}, {"rig": ("a", GLB)}), 422, "format")["detail"]
        assert "is glb with this rig" in detail


def test_a_rig_alone_is_no_reason_to_dance(ingress: Any, check_problem: Any) -> None:
    check_problem(ingress.form({}, {"rig": ("a", GLB)}), 422, "text_prompt")


def test_it_is_described(ingress: Any) -> None:
    document = ingress.ask("GET", "/openapi.json").json()
    for path in ("/v1/generate", "/v1/jobs"):
        content = document["paths"][path]["post"]["requestBody"]["content"]
        assert "rig" in json.dumps(content["application/json"])
    form = document["paths"]["/v1/generate"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["rig"]["format"] == "binary"
