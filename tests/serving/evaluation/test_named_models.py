"""Models of an evaluation by name, preset, and sampler with steps."""

from pathlib import Path

import pytest

from choreo.errors import InvalidInput
from choreo.shipped import shipped
from serving.evaluation.dancers import DanceOptions
from serving.evaluation.named_models import named_models
from serving.evaluation.stretches import PLAIN_CAPTION, Stretch

UNET = shipped("weights", "unet-small")
OPTIONS = DanceOptions("draft", 7, 1.5)


def test_each_has_options_of_its_own() -> None:
    plain, fast, ddpm = named_models(f"unet-small, unet-small@fast,{UNET}@ddpm:50", OPTIONS, 250)
    assert [model.folder for model in (plain, fast, ddpm)] == [UNET] * 3
    assert plain.options == OPTIONS
    assert (fast.options.preset, fast.options.num_steps, fast.options.guidance_scale) == ("fast", None, 1.5)
    assert [model.subject("unet") for model in (plain, fast, ddpm)] == ["unet", "unet@fast", "unet@ddpm:50"]
    fields = ddpm.options.fields(Stretch("key", None, PLAIN_CAPTION, None, None), 3)  # type: ignore[arg-type]
    wanted = {"sampler": "ddpm", "num_steps": 50, "guidance_low": 0, "guidance_scale": 1.5}
    assert fields.items() >= wanted.items()


def test_a_folder_may_have_an_at_sign(tmp_path: Path) -> None:
    folder = tmp_path / "a@b"
    folder.symlink_to(UNET)
    assert [model.folder for model in named_models(f"{folder},{folder}@fast", OPTIONS, 250)] == [folder, folder]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "model"), ("unet-small,", "model"), ("@fast", "model"), ("tmr-small@fast", "model"),
        ("unet-small@slow", "preset"), ("unet-small@", "preset"), ("unet-small@euler:50", "sampler"),
        ("unet-small@:50", "sampler"), ("unet-small@ddpm:", "num_steps"), ("unet-small@ddpm:0", "num_steps"),
        ("unet-small@ddpm:251", "num_steps"), ("unet-small@ddpm:-5", "num_steps"), ("unet-small@ddim:5:5", "num_steps"),
    ],
)  # fmt: skip
def test_what_is_unusable_is_refused_by_the_field(text: str, field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        named_models(text, OPTIONS, 250)
    assert error.value.field == field
