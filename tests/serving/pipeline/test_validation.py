import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import Z_UP, dance

from choreo.diffusion.presets import PRESETS
from choreo.errors import InvalidInput
from choreo.motion.clip import Motion
from choreo.motion.formats.bvh import write_bvh
from choreo.motion.formats.npz import write_npz
from choreo.music.rhythm import AS_HEARD, Rhythm
from serving.http.ingress import NOT_FETCHED
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings


def build(parts: Attachments | None = None, **fields: Any) -> Any:
    return validated_request(parse_fields(fields), parts or Attachments(), Settings())


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({}, "text_prompt"),
        ({"text_prompt": ""}, "text_prompt"),
        ({"text_prompt": "   "}, "text_prompt"),
        ({"text_prompt": "x" * 5000}, "text_prompt"),
        ({"text_prompt": "a\0b"}, "text_prompt"),
        ({"text_prompt": 3}, "text_prompt"),
        *(({"text_prompt": "a", "duration": d}, "duration") for d in (float("nan"), 0, -1, 1e9, float("inf"), "x")),
        *(({"text_prompt": "a", "guidance_scale": w}, "guidance_scale") for w in (float("nan"), -1, 1e9)),
        *(({"text_prompt": "a", "num_steps": n}, "num_steps") for n in (0, -3, 10_000, 2.5)),
        *(({"text_prompt": "a", "seed": s}, "seed") for s in (-1, 2**64)),
        ({"text_prompt": "a", "sampler": "euler"}, "sampler"),
        ({"text_prompt": "a", "priority": "urgent"}, "priority"),
        *(({"text_prompt": "a", "guidance_low": w}, "guidance_low") for w in (-0.1, 1.1, float("nan"))),
        ({"text_prompt": "a", "guidance_low": 0.6, "guidance_high": 0.5}, "guidance_high"),
        ({"text_prompt": "a", "format": "usd"}, "format"),
        ({"text_prompt": "a", "camera": "drone"}, "camera"),
        ({"text_prompt": "a", "tempo": 3}, "tempo"),
        *(({"text_prompt": "a", "num_samples": n}, "num_samples") for n in (0, -1, 17, 1000, 2.0, True, None)),
        ({"text_prompt": "a", "num_samples": 2, "duration": 2000.0}, "num_samples"),
        ({"text_prompt": "a", "on_beat": True}, "on_beat"),
        ({"text_prompt": "a", "on_beat": "yes"}, "on_beat"),
    ],
)
def test_every_bad_field_is_named(fields: dict[str, Any], blamed: str) -> None:
    with pytest.raises(InvalidInput) as error:
        build(**fields)
    assert error.value.field == blamed


def test_durations_are_frames_and_an_omitted_one_waits_for_the_song() -> None:
    assert build(text_prompt="a", duration=6.5).num_frames == 195
    assert build(text_prompt="a", duration=0.04).num_frames == 1
    assert build(text_prompt="a").num_frames is None


@pytest.mark.parametrize("on_beat", [None, True, False])
def test_pauses_are_moved_as_the_request_says(on_beat: bool | None) -> None:
    assert build(Attachments(audio=NOT_FETCHED), on_beat=on_beat).finish.on_beat is on_beat
    if not on_beat:
        assert build(text_prompt="a", on_beat=on_beat).finish.on_beat is on_beat


def test_bulk_weighs_less_and_guidance_may_act_in_a_part_only() -> None:
    job = build(text_prompt="a", priority="bulk", guidance_low=0.1, guidance_high=0.9)
    assert 0 < job.priority.weight < build(text_prompt="a").priority.weight
    assert job.guidance_interval == (0.1, 0.9)


def test_a_seed_is_chosen_where_none_is_given_and_reported() -> None:
    seeds = {build(text_prompt="a").seed for _ in range(5)}
    assert len(seeds) == 5


def test_parts_are_checked() -> None:
    with pytest.raises(InvalidInput) as error:
        build(Attachments(audio=b""), text_prompt="a")
    assert error.value.field == "audio"
    with pytest.raises(InvalidInput) as error:
        build(Attachments(audio=b"x", features=b"y"))
    assert error.value.field == "features"
    with pytest.raises(InvalidInput) as error:
        build(Attachments(start=b"not a zip"), text_prompt="a")
    assert error.value.field == "start"
    with pytest.raises(InvalidInput) as error:
        build(Attachments(features=Path("/nowhere.npy")))
    assert error.value.field == "features"


def test_beats_may_be_said_of_a_song_that_is_still_to_be_fetched_and_of_features() -> None:
    features = io.BytesIO()
    np.save(features, np.zeros((60, 35), np.float32))
    for parts in (Attachments(audio=NOT_FETCHED), Attachments(features=features.getvalue())):
        assert build(parts, beats=[0, 1, 1.5], half_time=True).rhythm == Rhythm(None, (0, 1, 1.5), True)
        assert build(parts, bpm=100).rhythm == Rhythm(100)
        assert build(parts, half_time=False).rhythm == AS_HEARD
    with pytest.raises(InvalidInput) as error:
        build(text_prompt="a", half_time=True, beats=[0, 1, 2])
    assert error.value.field == "beats"


def test_a_start_may_be_a_file_of_any_format_and_is_turned_upright(tmp_path: Path) -> None:
    fields = parse_fields({"text_prompt": "a"})
    write_bvh(Motion(dance().astype(np.float32)), tmp_path / "up.bvh")
    write_npz(Motion((dance() @ Z_UP.T).astype(np.float32)), tmp_path / "lies.npz")
    up, lies = (Attachments(start=tmp_path / name) for name in ("up.bvh", "lies.npz"))
    plain = validated_request(fields, up, Settings()).start
    assert plain is not None
    assert plain.rotations is not None
    assert plain.meta["notes"] == []
    turned = validated_request(fields, lies, Settings()).start
    assert turned is not None
    assert "z is up" in turned.meta["notes"][0]
    np.testing.assert_allclose(turned.positions, dance(), atol=1e-5)
    kept = validated_request(fields.model_copy(update={"up": "y"}), lies, Settings()).start
    assert kept is not None
    np.testing.assert_allclose(kept.positions, dance() @ Z_UP.T, atol=1e-5)
    with pytest.raises(InvalidInput, match="must be one of auto"):
        validated_request(fields.model_copy(update={"up": "sideways"}), lies, Settings())
    with pytest.raises(InvalidInput, match=r"start: must be one of .npz, .json, .bvh"):
        validated_request(fields, Attachments(start=Path(__file__)), Settings())


def test_a_preset_says_how_to_denoise_and_what_is_given_beside_it_counts_more() -> None:
    plain = build(text_prompt="a")
    assert (plain.sampler, plain.num_steps, plain.guidance_interval) == ("ddim", 50, (0.0, 1.0))
    for name, way in PRESETS.items():
        job = build(text_prompt="a", preset=name)
        assert (job.sampler, job.num_steps) == (way.sampler, way.num_steps)
        assert job.guidance_interval == (way.guidance_low, way.guidance_high)
    job = build(text_prompt="a", preset="fast", num_steps=3, guidance_low=0.0)
    assert (job.sampler, job.num_steps, job.guidance_interval) == (PRESETS["fast"].sampler, 3, (0.0, 1.0))


def test_a_preset_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="preset: must be one of reference, fast, draft, got 'faster'"):
        build(text_prompt="a", preset="faster")


def test_a_request_may_say_how_long_its_sender_waits() -> None:
    assert 100 < build(text_prompt="a").deadline - time.time() <= 120
    assert 800 < build(text_prompt="a", timeout=900.0).deadline - time.time() <= 900
