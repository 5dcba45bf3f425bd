from typing import Any

from serving.http.ingress import NOT_FETCHED
from serving.pipeline.fields import parse_fields
from serving.pipeline.request import MAX_SEED, Attachments
from serving.pipeline.validation import validated_request
from serving.settings import Settings


def build(parts: Attachments | None = None, **fields: Any) -> Any:
    return validated_request(parse_fields(fields), parts or Attachments(), Settings())


def test_samples_have_successive_seeds_and_share_the_weight_of_one_request() -> None:
    job = build(text_prompt="a", seed=MAX_SEED - 1, num_samples=4, duration=2)
    assert job.seeds == [MAX_SEED - 1, MAX_SEED, 0, 1]
    assert job.weight == job.priority.weight / 4
    assert (job.known_frames, job.known_sampled_frames) == (60, 240)
    assert build(text_prompt="a", seed=3).seeds == [3]
    assert build(Attachments(audio=NOT_FETCHED), num_samples=3).known_sampled_frames is None
