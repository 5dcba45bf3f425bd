"""What was encoded is not encoded again, and nothing else is taken for it."""

import asyncio
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from choreo.generators.spec import ModelSpec
from choreo.motion.clip import Motion
from serving.pipeline.contracts import Conditioning
from serving.pipeline.request import Attachments, MotionRequest, parse_fields, validated_request
from serving.ray.handles import HandleStages
from serving.settings import Settings
from serving.stages.conditioning_cache import ConditioningCache, conditioning_key

SPEC = ModelSpec(name="fake", context_dim=4, mean=(0.0,) * 66, std=(1.0,) * 66)
OTHER = SPEC.model_copy(update={"name": "other"})


def job(**fields: Any) -> MotionRequest:
    return validated_request(parse_fields({"text_prompt": "waltz", "duration": 2} | fields), Attachments(), Settings())


class FakeEncoder:
    """A handle whose method counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.encode = self

    async def _answer(self) -> Conditioning:
        self.calls += 1
        return Conditioning(60, None, np.zeros((60, 4), np.float32), None, np.zeros(0), 0.0, None)

    def remote(self, *arguments: Any) -> Any:
        return asyncio.ensure_future(self._answer())


def test_the_same_prompt_is_encoded_once_and_another_one_again() -> None:
    async def run(cache: ConditioningCache | None) -> int:
        encoder: Any = FakeEncoder()
        stages = HandleStages(encoder, None, None, None, cache)  # type: ignore[arg-type]
        for fields in ({}, {"seed": 5, "num_steps": 3}, {"text_prompt": "tango"}, {}):
            await stages.encode(job(**fields), SPEC)
        return int(encoder.calls)

    assert asyncio.run(run(ConditioningCache(1 << 20))) == 2
    assert asyncio.run(run(ConditioningCache(0))) == 4
    assert asyncio.run(run(None)) == 4


def changed() -> list[tuple[MotionRequest, ModelSpec]]:
    """Everything that an encoder looks at, each with another value."""
    plain, features = job(), np.zeros((60, 35), np.float32)
    clip = Motion(np.zeros((5, 22, 3), np.float32))
    return [
        (plain, OTHER),
        (job(text_prompt="tango"), SPEC),
        (job(duration=3), SPEC),
        (replace(plain, text=None, audio=b"song"), SPEC),
        (replace(plain, audio=b"song"), SPEC),
        (replace(plain, audio=b"songs"), SPEC),
        (replace(plain, features=features), SPEC),
        (replace(plain, features=features.reshape(35, 60)), SPEC),
        (replace(plain, features=features + 1), SPEC),
        (replace(plain, start=clip), SPEC),
    ]


def test_whatever_changes_the_conditioning_changes_the_key() -> None:
    keys = [conditioning_key(job(), SPEC), *(conditioning_key(*one) for one in changed())]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("fields", [{"seed": 9}, {"num_steps": 3}, {"guidance_scale": 1.0}, {"format": "bvh"}])
def test_whatever_does_not_leaves_it(fields: dict[str, Any]) -> None:
    assert conditioning_key(job(**fields), SPEC) == conditioning_key(job(), SPEC)
