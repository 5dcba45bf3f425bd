from typing import Any

import pytest

from choreo.errors import InvalidInput
from serving.pipeline.fields import DanceFields, GenerateFields, SearchFields, parse, parse_fields


def test_omitted_fields_have_their_defaults() -> None:
    fields = parse_fields({"text_prompt": "a"})
    assert type(fields) is GenerateFields
    assert fields == GenerateFields(text_prompt="a")
    assert (fields.guidance_scale, fields.preset, fields.num_samples, fields.seed) == (2.5, "reference", 1, None)
    assert parse(SearchFields, {"text_prompt": "a"}).top_n == 10


@pytest.mark.parametrize(
    ("kind", "values", "blamed"),
    [
        (GenerateFields, {"tempo": 3}, "tempo"),
        (GenerateFields, {"top_n": 3}, "top_n"),
        (SearchFields, {"seed": 3}, "seed"),
        (DanceFields, {"num_samples": 2}, "num_samples"),
        (GenerateFields, {"\n": 3}, "body"),
        (GenerateFields, {"seed": "3"}, "seed"),
        (GenerateFields, {"use_rag": 1}, "use_rag"),
        (GenerateFields, {"beats": [0.0, 1.0, "x"]}, "beats.2"),
        (GenerateFields, {"segments": []}, "segments"),
    ],
)
def test_what_is_wrong_is_named(kind: type[DanceFields], values: dict[str, Any], blamed: str) -> None:
    with pytest.raises(InvalidInput) as error:
        parse(kind, values)
    assert error.value.field == blamed
